extern "C" __global__ void __launch_bounds__(256) dot_21(const float* __restrict__ in1_params_W, const float* __restrict__ in2_params_b, const float* __restrict__ in3_x, const float* __restrict__ c0_c22, char* arena, unsigned long long* status, unsigned* barrier) {
    const int thread = int(blockIdx.x) * blockDim.x + threadIdx.x, threads = int(gridDim.x) * blockDim.x;
    float* const a0 = (float*)(arena + 6144);
    float* const a1 = (float*)(arena + 11264);
    float* const a2 = (float*)(arena + 16384);
    float* const a3 = (float*)(arena + 21504);
    float* const stack23 = (float*)(arena + 0);
    float* const a24 = (float*)(arena + 26624);
    // dot_21
    {
        for (int at_i6 = thread; at_i6 < 1280; at_i6 += threads) {
            const int m12 = at_i6 / 64, i6 = at_i6 % 64;
            float acc13;
            float acc14;
            float acc15;
            float acc16;
            float run_95[4];
            acc13 = 0.0f;
            acc14 = 0.0f;
            acc15 = 0.0f;
            acc16 = 0.0f;
            for (int q93 = 0; q93 < 2; q93 += 1) {
                irdl::load<4>(&run_95[0], &in3_x[8*m12+4*q93]);
                #pragma unroll
                for (int v94 = 0; v94 < 4; v94 += 1) {
                    acc13 = irdl::fma(run_95[v94], in1_params_W[i6+1024*q93+256*v94+64], acc13);
                    acc14 = irdl::fma(run_95[v94], in1_params_W[i6+1024*q93+256*v94], acc14);
                    acc15 = irdl::fma(run_95[v94], in1_params_W[i6+1024*q93+256*v94+128], acc15);
                    acc16 = irdl::fma(run_95[v94], in1_params_W[i6+1024*q93+256*v94+192], acc16);
                }
            }
            const float t17 = (acc13 + in2_params_b[i6+64]);
            const float t18 = (acc14 + in2_params_b[i6]);
            const float t19 = (acc15 + in2_params_b[i6+128]);
            const float t20 = (acc16 + in2_params_b[i6+192]);
            a0[i6+64*m12] = t17;
            a1[i6+64*m12] = t18;
            a2[i6+64*m12] = t19;
            a3[i6+64*m12] = t20;
        }
    }
    // init_26
    {
        for (int at_i25 = thread; at_i25 < 256; at_i25 += threads) {
            const int i25 = at_i25;
            stack23[i25] = c0_c22[i25];
        }
    }
    // init_28
    {
        for (int at_i27 = thread; at_i27 < 256; at_i27 += threads) {
            const int i27 = at_i27;
            a24[i27] = c0_c22[i27];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) loop(const float* __restrict__ in0_params_U, float* out0, char* arena, unsigned long long* status, unsigned* barrier) {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    unsigned met = 0;
    extern __shared__ __align__(16) char smem[];
    float* const a24 = (float*)(arena + 26624);
    float* const a2 = (float*)(arena + 16384);
    float* const a1 = (float*)(arena + 11264);
    float* const a0 = (float*)(arena + 6144);
    float* const a3 = (float*)(arena + 21504);
    float* const stack23 = (float*)(arena + 0);
    float* const staged53 = (float*)(smem + 0);
    float* const partial52 = (float*)(smem + 256);
    float kept_80;
    float kept_83[8];
    float kept_84[8];
    float kept_85[8];
    float kept_86[8];
    float kept_88;
    float kept_89;
    float kept_90;
    float kept_91;
    // keep_81
    {
        const int j47 = blockIdx.x / 2, j48 = blockIdx.x % 2;
        if (warp < 1) {
            const int l50 = lane;
            kept_80 = a24[64*j47+32*j48+l50];
        }
    }
    // keep_87
    {
        const int j48 = blockIdx.x % 2;
        const int w49 = warp;
        const int l50 = lane;
        #pragma unroll
        for (int s56 = 0; s56 < 8; s56 += 1) {
            kept_83[s56] = in0_params_U[32*j48+l50+256*s56+2048*w49+64];
            kept_84[s56] = in0_params_U[32*j48+l50+256*s56+2048*w49];
            kept_85[s56] = in0_params_U[32*j48+l50+256*s56+2048*w49+128];
            kept_86[s56] = in0_params_U[32*j48+l50+256*s56+2048*w49+192];
        }
    }
    for (int t29 = 0; t29 < 5; t29 += 1) {
        // ahead_92
        {
            const int j47 = blockIdx.x / 2, j48 = blockIdx.x % 2;
            if (warp < 1) {
                const int l50 = lane;
                kept_88 = a2[64*j47+32*j48+l50+256*t29];
                kept_89 = a1[64*j47+32*j48+l50+256*t29];
                kept_90 = a0[64*j47+32*j48+l50+256*t29];
                kept_91 = a3[64*j47+32*j48+l50+256*t29];
            }
        }
        // dot_79 (models.py:18 from models.py:27)
        {
            irdl::meet(barrier + 32 * (1 + blockIdx.x / 2), 2, met);
            {
                const int j47 = blockIdx.x / 2, j48 = blockIdx.x % 2;
                if (warp < 2) {
                    const int s54 = warp;
                    const int l50 = lane;
                    staged53[l50+32*s54] = stack23[64*j47+l50+32*s54+256*t29];
                }
                __syncthreads();
                {
                    const int w49 = warp;
                    const int l50 = lane;
                    float acc57;
                    float acc58;
                    float acc59;
                    float acc60;
                    acc57 = 0.0f;
                    acc58 = 0.0f;
                    acc59 = 0.0f;
                    acc60 = 0.0f;
                    #pragma unroll
                    for (int s56 = 0; s56 < 8; s56 += 1) {
                        acc57 = irdl::fma(staged53[s56+8*w49], kept_83[s56], acc57);
                        acc58 = irdl::fma(staged53[s56+8*w49], kept_84[s56], acc58);
                        acc59 = irdl::fma(staged53[s56+8*w49], kept_85[s56], acc59);
                        acc60 = irdl::fma(staged53[s56+8*w49], kept_86[s56], acc60);
                    }
                    partial52[4*l50+128*w49] = acc57;
                    partial52[4*l50+128*w49+1] = acc58;
                    partial52[4*l50+128*w49+2] = acc59;
                    partial52[4*l50+128*w49+3] = acc60;
                }
                __syncthreads();
                if (warp < 1) {
                    const int l50 = lane;
                    float total61;
                    float total62;
                    float total63;
                    float total64;
                    total61 = partial52[4*l50];
                    total62 = partial52[4*l50+1];
                    total63 = partial52[4*l50+2];
                    total64 = partial52[4*l50+3];
                    #pragma unroll
                    for (int s65 = 1; s65 < 8; s65 += 1) {
                        total61 = (total61 + partial52[4*l50+128*s65]);
                        total62 = (total62 + partial52[4*l50+128*s65+1]);
                        total63 = (total63 + partial52[4*l50+128*s65+2]);
                        total64 = (total64 + partial52[4*l50+128*s65+3]);
                    }
                    const float t66 = (kept_88 + total63);
                    const float t67 = irdl::tanh(t66);
                    const float t68 = (kept_89 + total62);
                    const float t69 = irdl::sigmoid(t68);
                    const float t70 = (t69 * t67);
                    const float t71 = (kept_90 + total61);
                    const float t72 = irdl::sigmoid(t71);
                    const float t73 = (t72 * kept_80);
                    const float t74 = (t73 + t70);
                    const float t75 = irdl::tanh(t74);
                    const float t76 = (kept_91 + total64);
                    const float t77 = irdl::sigmoid(t76);
                    const float t78 = (t77 * t75);
                    kept_80 = t74;
                    stack23[64*j47+32*j48+l50+256*t29+256] = t78;
                    out0[64*j47+32*j48+l50+256*t29] = t78;
                }
            }
        }
    }
    // put_82
    {
        const int j47 = blockIdx.x / 2, j48 = blockIdx.x % 2;
        if (warp < 1) {
            const int l50 = lane;
            a24[64*j47+32*j48+l50] = kept_80;
        }
    }
}
