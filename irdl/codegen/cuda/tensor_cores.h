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

// Operands of 16 bits, as the PTX ISA lays them out, and with four neighbouring steps in each lane.
#ifdef CUDA_ON_CPU
template <bool by_fours, class T> __device__ inline void m16n8k16(float* total, const T* left, const T* right) {
    static thread_local float given[32][32][12];
    const unsigned lane = threadIdx.x % 32;
    auto& lanes = given[threadIdx.x / 32];
    for (int slot = 0; slot < 12; ++slot) lanes[lane][slot] = widen(slot < 8 ? left[slot] : right[slot - 8]);
    __syncwarp();
    for (int slot = 0; slot < 4; ++slot)
        for (int k = 0; k < 16; ++k) {
            const int quarter = by_fours ? k / 4 : k % 8 / 2, place = by_fours ? k % 4 : k / 8 * 2 + k % 2;
            const float* row = lanes[lane / 4 * 4 + quarter];
            const float* column = lanes[(lane % 4 * 2 + slot % 2) * 4 + quarter];
            total[slot] += row[by_fours ? slot / 2 * 4 + place : place / 2 * 4 + slot / 2 * 2 + place % 2] * column[8 + place];
        }
    __syncwarp();
}
__device__ inline void m16n8k16_f16(float* total, const float16* left, const float16* right) { m16n8k16<false>(total, left, right); }
__device__ inline void m16n8k16_bf16(float* total, const bfloat16* left, const bfloat16* right) { m16n8k16<false>(total, left, right); }
__device__ inline void m16n8k16_f16_by_fours(float* total, const float16* left, const float16* right) { m16n8k16<true>(total, left, right); }
__device__ inline void m16n8k16_bf16_by_fours(float* total, const bfloat16* left, const bfloat16* right) { m16n8k16<true>(total, left, right); }
#else
template <class T> __device__ inline unsigned pair(const T* first) { return first[0].bits | unsigned(first[1].bits) << 16; }
#define IRDL_M16N8K16(name, T, type, second, third)                                                                                    \
    __device__ inline void name(float* total, const T* left, const T* right) {                                                         \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "       \
                     "{%0, %1, %2, %3};"                                                                                               \
                     : "+f"(total[0]), "+f"(total[1]), "+f"(total[2]), "+f"(total[3])                                                  \
                     : "r"(pair(left)), "r"(pair(left + second)), "r"(pair(left + third)), "r"(pair(left + 6)), "r"(pair(right)),      \
                       "r"(pair(right + 2)));                                                                                          \
    }
IRDL_M16N8K16(m16n8k16_f16, float16, "f16", 2, 4)
IRDL_M16N8K16(m16n8k16_bf16, bfloat16, "bf16", 2, 4)
IRDL_M16N8K16(m16n8k16_f16_by_fours, float16, "f16", 4, 2)
IRDL_M16N8K16(m16n8k16_bf16_by_fours, bfloat16, "bf16", 4, 2)
#endif

// Four matrices of 8 x 8 numbers of 16 bits out of shared memory: `line` is where a lane's line of one of them begins.
template <bool transposed, class T> __device__ inline void load_matrices(T* numbers, const T* line) {
    IRDL_ALIGNED(line, 16);
#ifdef CUDA_ON_CPU
    static thread_local const T* given[32][32];
    const unsigned lane = threadIdx.x % 32;
    auto& lines = given[threadIdx.x / 32];
    lines[lane] = line;
    __syncwarp();
    for (int slot = 0; slot < 8; ++slot) {
        const unsigned inside = lane % 4 * 2 + slot % 2, across = lane / 4, first = slot / 2 * 8;
        numbers[slot] = transposed ? lines[first + inside][across] : lines[first + across][inside];
    }
    __syncwarp();
#else
    unsigned pairs[4];
    const unsigned address = unsigned(__cvta_generic_to_shared(line));
    if (transposed)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3]) : "r"(address) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(pairs[0]), "=r"(pairs[1]), "=r"(pairs[2]), "=r"(pairs[3]) : "r"(address) : "memory");
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        numbers[2 * i].bits = (unsigned short)(pairs[i]);
        numbers[2 * i + 1].bits = (unsigned short)(pairs[i] >> 16);
    }
#endif
}

} // namespace irdl
#endif
