// Copies into shared memory that are only begun, by the threads of a block.
#ifndef IRDL_COPIES
#define IRDL_COPIES

#ifdef CUDA_ON_CPU
#include <vector>
#endif

namespace irdl {

#ifdef CUDA_ON_CPU
// Until a thread waits for it, what is copied is garbage there, so that to read it too early shows, and to overwrite it.
struct copy_begun {
    void* to;
    const void* from;
};
inline std::vector<std::vector<copy_begun>>& batches() { // shared memory is what is thread_local
    static auto* of_threads = new std::vector<std::vector<copy_begun>>[512 * 1024];
    auto& found = of_threads[blockIdx.x % 512 * 1024 + threadIdx.x];
    if (found.empty()) found.emplace_back();
    return found;
}
inline void begin_copy(void* to, const void* from) {
    IRDL_ALIGNED(to, 16);
    IRDL_ALIGNED(from, 16);
    memset(to, 0xff, 16);
    batches().back().push_back({to, from});
}
inline void commit_copies() { batches().emplace_back(); }
template <int pending> void wait_for_copies() {
    auto& begun = batches();
    while (begun.size() > pending + 1) {
        for (const auto& copy : begun.front()) memcpy(copy.to, copy.from, 16);
        begun.erase(begun.begin());
    }
}
#else
__device__ inline void begin_copy(void* to, const void* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(unsigned(__cvta_generic_to_shared(to))), "l"(from) : "memory");
}
__device__ inline void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int pending> __device__ inline void wait_for_copies() { asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory"); }
#endif

} // namespace irdl
#endif
