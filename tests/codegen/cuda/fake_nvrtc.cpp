// A libnvrtc that hands sources to a program which takes nvcc's arguments: $NVRTC_ON_CPU. `fake_nvrtc_programs` is how many there are.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>

namespace {

struct Program {
    std::string source, log, image;
};
int programs;

std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}
int give(char* to, const std::string& text) { return std::memcpy(to, text.c_str(), text.size() + 1), 0; }
int give(std::size_t* to, std::size_t n) { return *to = n, 0; }

} // namespace

extern "C" {

int fake_nvrtc_programs() { return programs; }
const char* nvrtcGetErrorString(int status) { return status == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_UNKNOWN"; }
int nvrtcCreateProgram(Program** p, const char* source, const char*, int, const char**, const char**) {
    return ++programs, *p = new Program{source, "", ""}, 0;
}
int nvrtcDestroyProgram(Program** p) { return --programs, delete *p, 0; }
int nvrtcCompileProgram(Program* p, int count, const char** flags) {
    char folder[] = P_tmpdir "/nvrtcXXXXXX";
    if (!mkdtemp(folder)) return 1;
    const std::string path = folder;
    std::ofstream(path + "/program.cu") << p->source;
    std::string command = std::string(std::getenv("NVRTC_ON_CPU")) + " -cubin";
    for (int i = 0; i < count; ++i) command += std::string(" ") + flags[i];
    command += " " + path + "/program.cu -o " + path + "/image > " + path + "/log 2>&1";
    const bool failed = p->source.size() && std::system(command.c_str());
    p->log = read(path + "/log"), p->image = read(path + "/image");
    std::filesystem::remove_all(path);
    return failed ? 6 : 0;
}
int nvrtcGetProgramLogSize(Program* p, std::size_t* n) { return give(n, p->log.size() + 1); }
int nvrtcGetProgramLog(Program* p, char* text) { return give(text, p->log); }
int nvrtcGetPTXSize(Program*, std::size_t* n) { return give(n, sizeof "// NVRTC " VERSION); }
int nvrtcGetPTX(Program*, char* text) { return give(text, "// NVRTC " VERSION); }
#ifndef WITHOUT_CUBINS
int nvrtcGetCUBINSize(Program* p, std::size_t* n) { return give(n, p->image.size()); }
int nvrtcGetCUBIN(Program* p, char* image) { return std::memcpy(image, p->image.data(), p->image.size()), 0; }
#endif
}
