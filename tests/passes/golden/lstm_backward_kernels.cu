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
            float run_206[4];
            acc13 = 0.0f;
            acc14 = 0.0f;
            acc15 = 0.0f;
            acc16 = 0.0f;
            for (int q204 = 0; q204 < 2; q204 += 1) {
                irdl::load<4>(&run_206[0], &in3_x[8*m12+4*q204]);
                #pragma unroll
                for (int v205 = 0; v205 < 4; v205 += 1) {
                    acc13 = irdl::fma(run_206[v205], in1_params_W[i6+1024*q204+256*v205+64], acc13);
                    acc14 = irdl::fma(run_206[v205], in1_params_W[i6+1024*q204+256*v205], acc14);
                    acc15 = irdl::fma(run_206[v205], in1_params_W[i6+1024*q204+256*v205+128], acc15);
                    acc16 = irdl::fma(run_206[v205], in1_params_W[i6+1024*q204+256*v205+192], acc16);
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
    float* const stack23 = (float*)(arena + 20480);
    float* const staged54 = (float*)(smem + 0);
    float* const partial53 = (float*)(smem + 256);
    float* const a0 = (float*)(arena + 32768);
    float* const a1 = (float*)(arena + 37888);
    float* const a2 = (float*)(arena + 43008);
    float* const stack24 = (float*)(arena + 26624);
    float* const a3 = (float*)(arena + 48128);
    float* const a25 = (float*)(arena + 53248);
    float kept_186[8];
    float kept_187[8];
    float kept_188[8];
    float kept_189[8];
    // keep_190
    {
        const int j48 = blockIdx.x / 2, j49 = blockIdx.x % 2;
        const int w50 = warp;
        const int l51 = lane;
        #pragma unroll
        for (int s56 = 0; s56 < 8; s56 += 1) {
            kept_186[s56] = in0_params_U[32*j49+l51+256*s56+2048*w50+64];
            kept_187[s56] = in0_params_U[32*j49+l51+256*s56+2048*w50];
            kept_188[s56] = in0_params_U[32*j49+l51+256*s56+2048*w50+128];
            kept_189[s56] = in0_params_U[32*j49+l51+256*s56+2048*w50+192];
        }
    }
    for (int t30 = 0; t30 < 5; t30 += 1) {
        // dot_79 (models.py:18 from models.py:27)
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
                        acc57 = irdl::fma(staged54[s56+8*w50], kept_186[s56], acc57);
                        acc58 = irdl::fma(staged54[s56+8*w50], kept_187[s56], acc58);
                        acc59 = irdl::fma(staged54[s56+8*w50], kept_188[s56], acc59);
                        acc60 = irdl::fma(staged54[s56+8*w50], kept_189[s56], acc60);
                    }
                    partial53[4*l51+128*w50] = acc57;
                    partial53[4*l51+128*w50+1] = acc58;
                    partial53[4*l51+128*w50+2] = acc59;
                    partial53[4*l51+128*w50+3] = acc60;
                }
                __syncthreads();
                if (warp < 1) {
                    const int l51 = lane;
                    float total61;
                    float total62;
                    float total63;
                    float total64;
                    total61 = partial53[4*l51];
                    total62 = partial53[4*l51+1];
                    total63 = partial53[4*l51+2];
                    total64 = partial53[4*l51+3];
                    #pragma unroll
                    for (int s65 = 1; s65 < 8; s65 += 1) {
                        total61 = (total61 + partial53[4*l51+128*s65]);
                        total62 = (total62 + partial53[4*l51+128*s65+1]);
                        total63 = (total63 + partial53[4*l51+128*s65+2]);
                        total64 = (total64 + partial53[4*l51+128*s65+3]);
                    }
                    const float t66 = (a0[64*j48+32*j49+l51+256*t30] + total61);
                    const float t67 = irdl::sigmoid(t66);
                    const float t68 = (a1[64*j48+32*j49+l51+256*t30] + total62);
                    const float t69 = irdl::sigmoid(t68);
                    const float t70 = (a2[64*j48+32*j49+l51+256*t30] + total63);
                    const float t71 = irdl::tanh(t70);
                    const float t72 = (t69 * t71);
                    const float t73 = (t67 * stack24[64*j48+32*j49+l51+256*t30]);
                    const float t74 = (t73 + t72);
                    const float t75 = (a3[64*j48+32*j49+l51+256*t30] + total64);
                    const float t76 = irdl::sigmoid(t75);
                    const float t77 = irdl::tanh(t74);
                    const float t78 = (t76 * t77);
                    a0[64*j48+32*j49+l51+256*t30] = t67;
                    a1[64*j48+32*j49+l51+256*t30] = t69;
                    a2[64*j48+32*j49+l51+256*t30] = t71;
                    stack24[64*j48+32*j49+l51+256*t30+256] = t74;
                    a3[64*j48+32*j49+l51+256*t30] = t76;
                    a25[64*j48+32*j49+l51+256*t30] = t77;
                    stack23[64*j48+32*j49+l51+256*t30+256] = t78;
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) init_85(float* out2, const float* __restrict__ c0_c22, const float* __restrict__ c1_c80, char* arena, unsigned long long* status, unsigned* barrier) {
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
    // init_89
    {
        for (int at_i88 = thread; at_i88 < 256; at_i88 += threads) {
            const int i88 = at_i88;
            out2[i88] = c1_c80[i88];
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 1) loop_209(const float* __restrict__ in0_params_U, const float* in4_gy, float* out2, char* arena, unsigned long long* status, unsigned* barrier) {
    const int warp = threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    unsigned passed = 0;
    extern __shared__ __align__(16) char smem[];
    float* const a82 = (float*)(arena + 59392);
    float* const a3 = (float*)(arena + 48128);
    float* const a25 = (float*)(arena + 53248);
    float* const a2 = (float*)(arena + 43008);
    float* const a1 = (float*)(arena + 37888);
    float* const a0 = (float*)(arena + 32768);
    float* const stack24 = (float*)(arena + 26624);
    float* const a81 = (float*)(arena + 58368);
    float* const a83 = (float*)(arena + 0);
    float* const staged165 = (float*)(smem + 0);
    float* const partial164 = (float*)(smem + 1024);
    float kept_199[32];
    float kept_201;
    float kept_191;
    float kept_192;
    float kept_193;
    float kept_194;
    float kept_195;
    float kept_196;
    float kept_197;
    // keep_200
    {
        const int j159 = blockIdx.x / 2, j160 = blockIdx.x % 2;
        const int w161 = warp;
        const int l162 = lane;
        #pragma unroll
        for (int q207 = 0; q207 < 8; q207 += 1) {
            irdl::load<4>(&kept_199[4*q207], &in0_params_U[8192*j160+256*l162+4*q207+32*w161]);
        }
    }
    // keep_202
    {
        const int j143 = blockIdx.x / 2, j139 = blockIdx.x % 2;
        if (warp < 1) {
            const int l142 = lane;
            kept_201 = a82[32*j139+64*j143+l142];
        }
    }
    for (int t90 = 0; t90 < 5; t90 += 1) {
        // ahead_198
        {
            const int j143 = blockIdx.x / 2, j139 = blockIdx.x % 2;
            if (warp < 1) {
                const int l142 = lane;
                kept_191 = a3[32*j139+64*j143+l142-256*t90+1024];
                kept_192 = in4_gy[32*j139+64*j143+l142-256*t90+1024];
                kept_193 = a25[32*j139+64*j143+l142-256*t90+1024];
                kept_194 = a2[32*j139+64*j143+l142-256*t90+1024];
                kept_195 = a1[32*j139+64*j143+l142-256*t90+1024];
                kept_196 = a0[32*j139+64*j143+l142-256*t90+1024];
                kept_197 = stack24[32*j139+64*j143+l142-256*t90+1024];
            }
        }
        // mul_144 (models.py:13 from models.py:19)
        {
            const int j143 = blockIdx.x / 2, j139 = blockIdx.x % 2;
            if (warp < 1) {
                const int l142 = lane;
                const float t116 = (1.0f - kept_191);
                const float t117 = (a81[32*j139+64*j143+l142] + kept_192);
                const float t118 = (t117 * kept_193);
                const float t119 = (t118 * kept_191);
                const float t120 = (t119 * t116);
                const float t121 = (kept_194 * kept_194);
                const float t122 = (1.0f - t121);
                const float t123 = (kept_193 * kept_193);
                const float t124 = (1.0f - t123);
                const float t125 = (t117 * kept_191);
                const float t126 = (t125 * t124);
                const float t127 = (kept_201 + t126);
                const float t128 = (t127 * kept_195);
                const float t129 = (t128 * t122);
                const float t130 = (1.0f - kept_195);
                const float t131 = (t127 * kept_194);
                const float t132 = (t131 * kept_195);
                const float t133 = (t132 * t130);
                const float t134 = (t127 * kept_196);
                const float t135 = (1.0f - kept_196);
                const float t136 = (t127 * kept_197);
                const float t137 = (t136 * kept_196);
                const float t138 = (t137 * t135);
                a83[32*j139+256*j143+l142-1024*t90+4288] = t120;
                a83[32*j139+256*j143+l142-1024*t90+4224] = t129;
                a83[32*j139+256*j143+l142-1024*t90+4096] = t133;
                kept_201 = t134;
                a83[32*j139+256*j143+l142-1024*t90+4160] = t138;
            }
        }
        // sum_154 (models.py:18 from models.py:27)
        {
            irdl::grid_barrier(barrier, passed);
            {
                const int j150 = blockIdx.x;
                if (warp < 1) {
                    const int l153 = lane;
                    float acc148;
                    acc148 = 0.0f;
                    for (int r146 = 0; r146 < 4; r146 += 1) {
                        acc148 = (acc148 + a83[32*j150+l153+256*r146-1024*t90+4096]);
                    }
                    const float t149 = (out2[32*j150+l153] + acc148);
                    out2[32*j150+l153] = t149;
                }
            }
        }
        // dot_171 (models.py:18 from models.py:27)
        {
            const int j159 = blockIdx.x / 2, j160 = blockIdx.x % 2;
            {
                const int s166 = warp;
                const int l162 = lane;
                staged165[l162+32*s166] = a83[256*j159+l162+32*s166-1024*t90+4096];
            }
            __syncwarp();
            {
                const int w161 = warp;
                const int l162 = lane;
                float acc168;
                acc168 = 0.0f;
                #pragma unroll
                for (int s167 = 0; s167 < 32; s167 += 1) {
                    acc168 = irdl::fma(staged165[s167+32*w161], kept_199[s167], acc168);
                }
                partial164[l162+32*w161] = acc168;
            }
            __syncthreads();
            if (warp < 1) {
                const int l162 = lane;
                float total169;
                total169 = partial164[l162];
                #pragma unroll
                for (int s170 = 1; s170 < 8; s170 += 1) {
                    total169 = (total169 + partial164[l162+32*s170]);
                }
                a81[64*j159+32*j160+l162] = total169;
            }
        }
    }
    // put_203
    {
        const int j143 = blockIdx.x / 2, j139 = blockIdx.x % 2;
        if (warp < 1) {
            const int l142 = lane;
            a82[32*j139+64*j143+l142] = kept_201;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) dot_178(const float* __restrict__ in3_x, float* out0, float* out1, char* arena, unsigned long long* status, unsigned* barrier) {
    const int thread = int(blockIdx.x) * blockDim.x + threadIdx.x, threads = int(gridDim.x) * blockDim.x;
    float* const a83 = (float*)(arena + 0);
    float* const stack23 = (float*)(arena + 20480);
    // dot_178
    {
        for (int at_i173 = thread; at_i173 < 2048; at_i173 += threads) {
            const int m176 = at_i173 / 256, i173 = at_i173 % 256;
            float acc177;
            acc177 = 0.0f;
            for (int r174 = 0; r174 < 1; r174 += 1) {
                for (int r175 = 0; r175 < 20; r175 += 1) {
                    acc177 = irdl::fma(a83[i173+1024*r174+256*r175], in3_x[m176+32*r174+8*r175], acc177);
                }
            }
            out1[i173+256*m176] = acc177;
        }
    }
    // dot_185
    {
        for (int at_i180 = thread; at_i180 < 16384; at_i180 += threads) {
            const int m183 = at_i180 / 256, i180 = at_i180 % 256;
            float acc184;
            acc184 = 0.0f;
            for (int r181 = 0; r181 < 1; r181 += 1) {
                for (int r182 = 0; r182 < 20; r182 += 1) {
                    acc184 = irdl::fma(a83[i180+1024*r181+256*r182], stack23[m183+256*r181+64*r182], acc184);
                }
            }
            out0[i180+256*m183] = acc184;
        }
    }
}
