// An exported LSTM with a dense layer beside RTNeural's of the same weights, sample by sample; prints nanoseconds a sample of each.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <vector>

#include "model.h"
#include "weights.h"
#include <RTNeural/RTNeural.h>

alignas(64) static unsigned char memory[MODEL_MEMORY_BYTES + 64];
static float x[BLOCK], ours[BLOCK], theirs[BLOCK];

static std::vector<std::vector<float>> rows(const float *numbers, int count, int width) {
    std::vector<std::vector<float>> found;
    for (int row = 0; row < count; row++) found.emplace_back(numbers + row * width, numbers + (row + 1) * width);
    return found;
}

int main() {
    RTNeural::ModelT<float, 1, 1, RTNeural::LSTMLayerT<float, 1, HIDDEN>, RTNeural::DenseT<float, HIDDEN, 1>> rival;
    rival.get<0>().setWVals(rows(W, 1, 4 * HIDDEN));
    rival.get<0>().setUVals(rows(U, HIDDEN, 4 * HIDDEN));
    rival.get<0>().setBVals(std::vector<float>(b, b + 4 * HIDDEN));
    rival.get<1>().setWeights(rows(V, 1, HIDDEN));
    rival.get<1>().setBias(c);
    rival.reset();
    model_state state = model_initial;
    for (int i = 0; i < BLOCK; i++) x[i] = std::sin(0.3f * i);
    auto play_ours = [&] { model(&state, x, ours, memory); };
    auto play_theirs = [&] {
        for (int i = 0; i < BLOCK; i++) {
            float input[1] = {x[i]};
            theirs[i] = rival.forward(input);
        }
    };
    double worst = 0;
    for (int block = 0; block < 50; block++) {
        play_ours();
        play_theirs();
        for (int i = 0; i < BLOCK; i++) worst = std::max(worst, double(std::fabs(ours[i] - theirs[i])));
    }
    const int blocks = std::max(1, 4000 / BLOCK);
    auto nanoseconds = [&](auto play) {
        auto start = std::chrono::steady_clock::now();
        for (int block = 0; block < blocks; block++) play();
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / blocks / BLOCK * 1e9;
    };
    double a = 1e9, b = 1e9;  // what other programs take of the machine only adds to a time
    for (int round = 0; round < 300; round++) {  // they take turns
        a = std::min(a, nanoseconds(play_ours));
        b = std::min(b, nanoseconds(play_theirs));
    }
    std::printf("%g %g %g\n", a, b, worst);
}
