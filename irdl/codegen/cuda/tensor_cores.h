// Products of small matrices, by all lanes of a warp at once. `irdl/loops/instructions.py` says which lane holds what.
#ifndef IRDL_TENSOR_CORES
#define IRDL_TENSOR_CORES

namespace irdl {

// The nearest number with ten bits of fraction, the larger one of two.
__device__ inline float tf32(float x) {
#ifdef CUDA_ON_CPU
    if (x != x) return x;
    unsigned bits;
    memcpy(&bits, &x, sizeof x);
    bits = (bits + 0x1000u) & 0xffffe000u;
    memcpy(&x, &bits, sizeof x);
    return x;
#else
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
#endif
}

__device__ inline void m16n8k8_tf32(float* total, const float* left, const float* right) {
#ifdef CUDA_ON_CPU
    static thread_local float given[32][32][6]; // of each warp and lane; numbers that are not rounded are none
    const unsigned lane = threadIdx.x % 32;
    auto& lanes = given[threadIdx.x / 32];
    for (int slot = 0; slot < 6; ++slot) {
        const float x = slot < 4 ? left[slot] : right[slot - 4];
        lanes[lane][slot] = tf32(x) == x ? x : NAN;
    }
    __syncwarp();
    for (int slot = 0; slot < 4; ++slot)
        for (int k = 0; k < 8; ++k) {
            const float* row = lanes[lane / 4 * 4 + k % 4];
            const float* column = lanes[(lane % 4 * 2 + slot % 2) * 4 + k % 4];
            total[slot] += row[slot / 2 + k / 4 * 2] * column[4 + k / 4];
        }
    __syncwarp();
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(total[0]), "+f"(total[1]), "+f"(total[2]), "+f"(total[3])
                 : "r"(__float_as_uint(left[0])), "r"(__float_as_uint(left[1])), "r"(__float_as_uint(left[2])),
                   "r"(__float_as_uint(left[3])), "r"(__float_as_uint(right[0])), "r"(__float_as_uint(right[1])));
#endif
}

// Operands of 16 bits, a lane's steps next to each other.
#ifdef CUDA_ON_CPU
template <class T> __device__ inline void m16n8k16(float* total, const T* left, const T* right) {
    static thread_local float given[32][32][12];
    const unsigned lane = threadIdx.x % 32;
    auto& lanes = given[threadIdx.x / 32];
    for (int slot = 0; slot < 12; ++slot) lanes[lane][slot] = widen(slot < 8 ? left[slot] : right[slot - 8]);
    __syncwarp();
    for (int slot = 0; slot < 4; ++slot)
        for (int k = 0; k < 16; ++k) {
            const float* row = lanes[lane / 4 * 4 + k / 4];
            const float* column = lanes[(lane % 4 * 2 + slot % 2) * 4 + k / 4];
            total[slot] += row[slot / 2 * 4 + k % 4] * column[8 + k % 4];
        }
    __syncwarp();
}
__device__ inline void m16n8k16_f16(float* total, const float16* left, const float16* right) { m16n8k16(total, left, right); }
__device__ inline void m16n8k16_bf16(float* total, const bfloat16* left, const bfloat16* right) { m16n8k16(total, left, right); }
#else
template <class T> __device__ inline unsigned pair(const T* first) { return first[0].bits | unsigned(first[1].bits) << 16; }
#define IRDL_M16N8K16(name, T, type)                                                                                                   \
    __device__ inline void name(float* total, const T* left, const T* right) {                                                         \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "       \
                     "{%0, %1, %2, %3};"                                                                                               \
                     : "+f"(total[0]), "+f"(total[1]), "+f"(total[2]), "+f"(total[3])                                                  \
                     : "r"(pair(left)), "r"(pair(left + 4)), "r"(pair(left + 2)), "r"(pair(left + 6)), "r"(pair(right)),                \
                       "r"(pair(right + 2)));                                                                                          \
    }
IRDL_M16N8K16(m16n8k16_f16, float16, "f16")
IRDL_M16N8K16(m16n8k16_bf16, bfloat16, "bf16")
#endif

} // namespace irdl
#endif
