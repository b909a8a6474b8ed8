// A network in an audio-like callback: 64 samples at a time, each predicted from the 31 before and itself, and never an
// allocation, a lock or a system call. Prints how long the callback took.
//
//     c++ -std=c++11 -O2 callback.cpp $(python -m mlpfast config --cflags --libs) -o callback
//     ./callback net.safetensors          (a network of 32 inputs and 1 output, of float32)
#include <mlpfast.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <vector>

struct Destroy {
    void operator()(mlp_network *net) const { mlp_network_destroy(net); }
};
using Network = std::unique_ptr<mlp_network, Destroy>;

static Network load(const char *path) {
    std::ifstream stream(path, std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    mlp_network *net = nullptr;
    mlp_file file = mlp_file_init();
    if (mlp_network_load(&net, bytes.data(), bytes.size(), &file) != MLP_OK) {
        throw std::runtime_error(file.problem ? file.problem : "the network cannot be loaded");
    }
    return Network(net);
}

class Filter {
  public:
    static constexpr int taps = 32, block = 64;

    explicit Filter(Network network)
        : net(std::move(network)), data(mlp_data_init()), workspace(mlp_predict_workspace(net.get(), block, 1)) {
        const mlp_network *n = net.get();
        if (mlp_network_n_in(n) != taps || mlp_network_n_out(n) != 1 || mlp_network_dtype(n) != MLP_FLOAT32) {
            throw std::runtime_error("needs a network of 32 inputs and 1 output, of float32");
        }
        data.X = rows, data.x_type = MLP_FLOAT32, data.n = block;
    }

    // What the audio thread calls.
    mlp_status operator()(float *out, const float *in) {
        std::copy(history + block, history + block + taps - 1, history);
        std::copy(in, in + block, history + taps - 1);
        for (int i = 0; i < block; i++) std::copy(history + i, history + i + taps, rows + i * taps);
        return mlp_predict(net.get(), out, &data, workspace.data(), 1, nullptr, nullptr);
    }

  private:
    Network net;
    mlp_data data;
    std::vector<unsigned char> workspace;
    float history[taps - 1 + block] = {}, rows[block * taps] = {};
};

int main(int argc, char **argv) try {
    using clock = std::chrono::steady_clock;
    if (argc != 2 || mlp_self_check() != MLP_OK) return 1;
    Filter filter(load(argv[1]));
    std::vector<double> microseconds(10000);
    float in[Filter::block], out[Filter::block], sum = 0;
    for (std::size_t call = 0; call < microseconds.size(); call++) {
        for (int i = 0; i < Filter::block; i++) {
            in[i] = std::sin(0.05f * static_cast<float>(call * Filter::block + static_cast<std::size_t>(i)));
        }
        const auto start = clock::now();
        if (filter(out, in) != MLP_OK) return 1;
        microseconds[call] = std::chrono::duration<double, std::micro>(clock::now() - start).count();
        sum += out[0];
    }
    std::sort(microseconds.begin(), microseconds.end());
    std::printf("64 samples: median %.2f us, p99.9 %.2f us, of 1333 us at 48 kHz; sum %.3f\n",
                microseconds[microseconds.size() / 2], microseconds[microseconds.size() * 999 / 1000],
                static_cast<double>(sum));
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "callback: %s\n", error.what());
    return 1;
}
