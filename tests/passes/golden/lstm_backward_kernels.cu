extern "C" __global__ void __launch_bounds__(256) dot_21(const float* __restrict__ in1_params_W, const float* __restrict__ in2_params_b, const float* __restrict__ in3_x, const float* __restrict__ c0_c22, char* arena, unsigned long long* status, unsigned* barrier) {
    const int thread = int(blockIdx.x) * blockDim.x + threadIdx.x, threads = int(gridDim.x) * blockDim.x;
    float* const a0 = (float*)(arena + 32768);
    float* const a1 = (float*)(arena + 37888);
    float* const a2 = (float*)(arena + 43008);
    float* const a3 = (float*)(arena + 48128);
    float* const stack23 = (float*)(arena + 20480);
    float* const stack24 = (float*)(arena + 26624);
    // dot_21
    {
        for (int at_i6 = thread; at_i6 < 1280; at_i6 += threads) {
            const int m12 = at_i6 / 64, i6 = at_i6 % 64;
            float acc13;
            float acc14;
            float acc15;
            float acc16;
            float run_210[4];
            acc13 = 0.0f;
            acc14 = 0.0f;
            acc15 = 0.0f;
            acc16 = 0.0f;
            for (int q208 = 0; q208 < 2; q208 += 1) {
                irdl::load<4>(&run_210[0], &in3_x[8*m12+4*q208]);
                #pragma unroll
                for (int v209 = 0; v209 < 4; v209 += 1) {
                    acc13 = irdl::fma(run_210[v209], in1_params_W[i6+1024*q208+256*v209+64], acc13);
                    acc14 = irdl::fma(run_210[v209], in1_params_W[i6+1024*q208+256*v209], acc14);
                    acc15 = irdl::fma(run_210[v209], in1_params_W[i6+1024*q208+256*v209+128], acc15);
                    acc16 = irdl::fma(run_210[v209], in1_params_W[i6+1024*q208+256*v209+192], acc16);
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
    // init_27
    {
        for (int at_i26 = thread; at_i26 < 256; at_i26 += threads) {
            const int i26 = at_i26;
            stack23[i26] = c0_c22[i26];
        }
    }
    // init_29
    {
        for (int at_i28 = thread; at_i28 < 256; at_i28 += threads) {
            const int i28 = at_i28;
            stack24[i28] = c0_c22[i28];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) loop(const float* __restrict__ in0_params_U, char* arena, unsigned long long* status, unsigned* barrier) {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    unsigned met = 0;
    extern __shared__ __align__(16) char smem[];
    float* const stack24 = (float*)(arena + 26624);
    float* const a0 = (float*)(arena + 32768);
    float* const a1 = (float*)(arena + 37888);
    float* const a2 = (float*)(arena + 43008);
    float* const a3 = (float*)(arena + 48128);
    float* const stack23 = (float*)(arena + 20480);
    float* const staged54 = (float*)(smem + 0);
    float* const partial53 = (float*)(smem + 256);
    float* const a25 = (float*)(arena + 53248);
    float kept_180;
    float kept_182[8];
    float kept_183[8];
    float kept_184[8];
    float kept_185[8];
    float kept_187;
    float kept_188;
    float kept_189;
    float kept_190;
    // keep_181
    {
        const int j48 = blockIdx.x / 2, j49 = blockIdx.x % 2;
        if (warp < 1) {
            const int l51 = lane;
            kept_180 = stack24[64*j48+32*j49+l51];
        }
    }
    // keep_186
    {
        const int j49 = blockIdx.x % 2;
        const int w50 = warp;
        const int l51 = lane;
        #pragma unroll
        for (int s57 = 0; s57 < 8; s57 += 1) {
            kept_182[s57] = in0_params_U[32*j49+l51+256*s57+2048*w50+64];
            kept_183[s57] = in0_params_U[32*j49+l51+256*s57+2048*w50];
            kept_184[s57] = in0_params_U[32*j49+l51+256*s57+2048*w50+128];
            kept_185[s57] = in0_params_U[32*j49+l51+256*s57+2048*w50+192];
        }
    }
    for (int t30 = 0; t30 < 5; t30 += 1) {
        // ahead_191
        {
            const int j48 = blockIdx.x / 2, j49 = blockIdx.x % 2;
            if (warp < 1) {
                const int l51 = lane;
                kept_187 = a0[64*j48+32*j49+l51+256*t30];
                kept_188 = a1[64*j48+32*j49+l51+256*t30];
                kept_189 = a2[64*j48+32*j49+l51+256*t30];
                kept_190 = a3[64*j48+32*j49+l51+256*t30];
            }
        }
        // dot_80 (models.py:18 from models.py:27)
        {
            irdl::meet(barrier + 32 * (1 + blockIdx.x / 2), 2, met);
            {
                const int j48 = blockIdx.x / 2, j49 = blockIdx.x % 2;
                if (warp < 2) {
                    const int s55 = warp;
                    const int l51 = lane;
                    staged54[l51+32*s55] = stack23[64*j48+l51+32*s55+256*t30];
                }
                __syncthreads();
                {
                    const int w50 = warp;
                    const int l51 = lane;
                    float acc58;
                    float acc59;
                    float acc60;
                    float acc61;
                    acc58 = 0.0f;
                    acc59 = 0.0f;
                    acc60 = 0.0f;
                    acc61 = 0.0f;
                    #pragma unroll
                    for (int s57 = 0; s57 < 8; s57 += 1) {
                        acc58 = irdl::fma(staged54[s57+8*w50], kept_182[s57], acc58);
                        acc59 = irdl::fma(staged54[s57+8*w50], kept_183[s57], acc59);
                        acc60 = irdl::fma(staged54[s57+8*w50], kept_184[s57], acc60);
                        acc61 = irdl::fma(staged54[s57+8*w50], kept_185[s57], acc61);
                    }
                    partial53[4*l51+128*w50] = acc58;
                    partial53[4*l51+128*w50+1] = acc59;
                    partial53[4*l51+128*w50+2] = acc60;
                    partial53[4*l51+128*w50+3] = acc61;
                }
                __syncthreads();
                if (warp < 1) {
                    const int l51 = lane;
                    float total62;
                    float total63;
                    float total64;
                    float total65;
                    total62 = partial53[4*l51];
                    total63 = partial53[4*l51+1];
                    total64 = partial53[4*l51+2];
                    total65 = partial53[4*l51+3];
                    #pragma unroll
                    for (int s66 = 1; s66 < 8; s66 += 1) {
                        total62 = (total62 + partial53[4*l51+128*s66]);
                        total63 = (total63 + partial53[4*l51+128*s66+1]);
                        total64 = (total64 + partial53[4*l51+128*s66+2]);
                        total65 = (total65 + partial53[4*l51+128*s66+3]);
                    }
                    const float t67 = (kept_187 + total62);
                    const float t68 = irdl::sigmoid(t67);
                    const float t69 = (kept_188 + total63);
                    const float t70 = irdl::sigmoid(t69);
                    const float t71 = (kept_189 + total64);
                    const float t72 = irdl::tanh(t71);
                    const float t73 = (t70 * t72);
                    const float t74 = (t68 * kept_180);
                    const float t75 = (t74 + t73);
                    const float t76 = (kept_190 + total65);
                    const float t77 = irdl::sigmoid(t76);
                    const float t78 = irdl::tanh(t75);
                    const float t79 = (t77 * t78);
                    a0[64*j48+32*j49+l51+256*t30] = t68;
                    a1[64*j48+32*j49+l51+256*t30] = t70;
                    a2[64*j48+32*j49+l51+256*t30] = t72;
                    kept_180 = t75;
                    stack24[64*j48+32*j49+l51+256*t30+256] = kept_180;
                    a3[64*j48+32*j49+l51+256*t30] = t77;
                    a25[64*j48+32*j49+l51+256*t30] = t78;
                    stack23[64*j48+32*j49+l51+256*t30+256] = t79;
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) init_85(const float* __restrict__ c0_c22, char* arena, unsigned long long* status, unsigned* barrier) {
    const int thread = int(blockIdx.x) * blockDim.x + threadIdx.x, threads = int(gridDim.x) * blockDim.x;
    float* const a81 = (float*)(arena + 58368);
    float* const a82 = (float*)(arena + 59392);
    // init_85
    {
        for (int at_i84 = thread; at_i84 < 256; at_i84 += threads) {
            const int i84 = at_i84;
            a81[i84] = c0_c22[i84];
        }
    }
    // init_87
    {
        for (int at_i86 = thread; at_i86 < 256; at_i86 += threads) {
            const int i86 = at_i86;
            a82[i86] = c0_c22[i86];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) loop_213(const float* __restrict__ in0_params_U, const float* in4_gy, char* arena, unsigned long long* status, unsigned* barrier) {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    unsigned met = 0;
    extern __shared__ __align__(16) char smem[];
    float* const a81 = (float*)(arena + 58368);
    float* const a82 = (float*)(arena + 59392);
    float* const a3 = (float*)(arena + 48128);
    float* const a25 = (float*)(arena + 53248);
    float* const a2 = (float*)(arena + 43008);
    float* const a1 = (float*)(arena + 37888);
    float* const a0 = (float*)(arena + 32768);
    float* const stack24 = (float*)(arena + 26624);
    float* const a83 = (float*)(arena + 0);
    float* const staged153 = (float*)(smem + 0);
    float* const partial152 = (float*)(smem + 1024);
    float kept_192;
    float kept_195;
    float kept_206[32];
    float kept_198;
    float kept_199;
    float kept_200;
    float kept_201;
    float kept_202;
    float kept_203;
    float kept_204;
    // keep_193
    {
        const int j141 = blockIdx.x / 2, j137 = blockIdx.x % 2;
        if (warp < 1) {
            const int l140 = lane;
            kept_192 = a81[32*j137+64*j141+l140];
        }
    }
    // keep_196
    {
        const int j141 = blockIdx.x / 2, j137 = blockIdx.x % 2;
        if (warp < 1) {
            const int l140 = lane;
            kept_195 = a82[32*j137+64*j141+l140];
        }
    }
    // keep_207
    {
        const int j148 = blockIdx.x % 2;
        const int w149 = warp;
        const int l150 = lane;
        #pragma unroll
        for (int q211 = 0; q211 < 8; q211 += 1) {
            irdl::load<4>(&kept_206[4*q211], &in0_params_U[8192*j148+256*l150+4*q211+32*w149]);
        }
    }
    for (int t88 = 0; t88 < 5; t88 += 1) {
        // ahead_205
        {
            const int j141 = blockIdx.x / 2, j137 = blockIdx.x % 2;
            if (warp < 1) {
                const int l140 = lane;
                kept_198 = a3[32*j137+64*j141+l140-256*t88+1024];
                kept_199 = in4_gy[32*j137+64*j141+l140-256*t88+1024];
                kept_200 = a25[32*j137+64*j141+l140-256*t88+1024];
                kept_201 = a2[32*j137+64*j141+l140-256*t88+1024];
                kept_202 = a1[32*j137+64*j141+l140-256*t88+1024];
                kept_203 = a0[32*j137+64*j141+l140-256*t88+1024];
                kept_204 = stack24[32*j137+64*j141+l140-256*t88+1024];
            }
        }
        // mul_142 (models.py:13 from models.py:19)
        {
            const int j141 = blockIdx.x / 2, j137 = blockIdx.x % 2;
            if (warp < 1) {
                const int l140 = lane;
                const float t114 = (1.0f - kept_198);
                const float t115 = (kept_192 + kept_199);
                const float t116 = (t115 * kept_200);
                const float t117 = (t116 * kept_198);
                const float t118 = (t117 * t114);
                const float t119 = (kept_201 * kept_201);
                const float t120 = (1.0f - t119);
                const float t121 = (kept_200 * kept_200);
                const float t122 = (1.0f - t121);
                const float t123 = (t115 * kept_198);
                const float t124 = (t123 * t122);
                const float t125 = (kept_195 + t124);
                const float t126 = (t125 * kept_202);
                const float t127 = (t126 * t120);
                const float t128 = (1.0f - kept_202);
                const float t129 = (t125 * kept_201);
                const float t130 = (t129 * kept_202);
                const float t131 = (t130 * t128);
                const float t132 = (t125 * kept_203);
                const float t133 = (1.0f - kept_203);
                const float t134 = (t125 * kept_204);
                const float t135 = (t134 * kept_203);
                const float t136 = (t135 * t133);
                a83[32*j137+256*j141+l140-1024*t88+4288] = t118;
                a83[32*j137+256*j141+l140-1024*t88+4224] = t127;
                a83[32*j137+256*j141+l140-1024*t88+4096] = t131;
                kept_195 = t132;
                a83[32*j137+256*j141+l140-1024*t88+4160] = t136;
            }
        }
        // dot_160 (models.py:18 from models.py:27)
        {
            irdl::meet(barrier + 32 * (1 + blockIdx.x / 2), 2, met);
            {
                const int j147 = blockIdx.x / 2;
                {
                    const int s154 = warp;
                    const int l150 = lane;
                    staged153[l150+32*s154] = a83[256*j147+l150+32*s154-1024*t88+4096];
                }
                __syncwarp();
                {
                    const int w149 = warp;
                    const int l150 = lane;
                    float acc157;
                    acc157 = 0.0f;
                    #pragma unroll
                    for (int s156 = 0; s156 < 32; s156 += 1) {
                        acc157 = irdl::fma(staged153[s156+32*w149], kept_206[s156], acc157);
                    }
                    partial152[l150+32*w149] = acc157;
                }
                __syncthreads();
                if (warp < 1) {
                    const int l150 = lane;
                    float total158;
                    total158 = partial152[l150];
                    #pragma unroll
                    for (int s159 = 1; s159 < 8; s159 += 1) {
                        total158 = (total158 + partial152[l150+32*s159]);
                    }
                    kept_192 = total158;
                }
            }
        }
    }
    // put_194
    {
        const int j141 = blockIdx.x / 2, j137 = blockIdx.x % 2;
        if (warp < 1) {
            const int l140 = lane;
            a81[32*j137+64*j141+l140] = kept_192;
        }
    }
    // put_197
    {
        const int j141 = blockIdx.x / 2, j137 = blockIdx.x % 2;
        if (warp < 1) {
            const int l140 = lane;
            a82[32*j137+64*j141+l140] = kept_195;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) dot_167(const float* __restrict__ in3_x, float* out0, float* out1, float* out2, char* arena, unsigned long long* status, unsigned* barrier) {
    const int thread = int(blockIdx.x) * blockDim.x + threadIdx.x, threads = int(gridDim.x) * blockDim.x;
    float* const a83 = (float*)(arena + 0);
    float* const stack23 = (float*)(arena + 20480);
    // dot_167
    {
        for (int at_i162 = thread; at_i162 < 2048; at_i162 += threads) {
            const int m165 = at_i162 / 256, i162 = at_i162 % 256;
            float acc166;
            acc166 = 0.0f;
            for (int r163 = 0; r163 < 1; r163 += 1) {
                for (int r164 = 0; r164 < 20; r164 += 1) {
                    acc166 = irdl::fma(a83[i162+1024*r163+256*r164], in3_x[m165+32*r163+8*r164], acc166);
                }
            }
            out1[i162+256*m165] = acc166;
        }
    }
    // dot_174
    {
        for (int at_i169 = thread; at_i169 < 16384; at_i169 += threads) {
            const int m172 = at_i169 / 256, i169 = at_i169 % 256;
            float acc173;
            acc173 = 0.0f;
            for (int r170 = 0; r170 < 1; r170 += 1) {
                for (int r171 = 0; r171 < 20; r171 += 1) {
                    acc173 = irdl::fma(a83[i169+1024*r170+256*r171], stack23[m172+256*r170+64*r171], acc173);
                }
            }
            out0[i169+256*m172] = acc173;
        }
    }
    // sum_179
    {
        for (int at_i175 = thread; at_i175 < 256; at_i175 += threads) {
            const int i175 = at_i175;
            float acc178;
            acc178 = 0.0f;
            for (int r176 = 0; r176 < 1; r176 += 1) {
                for (int r177 = 0; r177 < 20; r177 += 1) {
                    acc178 = (acc178 + a83[i175+1024*r176+256*r177]);
                }
            }
            out2[i175] = acc178;
        }
    }
}
