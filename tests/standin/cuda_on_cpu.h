// CUDA C++ as plain C++: include this, then a .cu file in an unnamed namespace, and compile with g++.
//
// The threads of a block are fibres that run one after another, each to its next __syncthreads(). A barrier that only
// some threads of a block reach is undefined in CUDA; here `launch` answers 1.
#pragma once
#include <cstddef>
#include <cstdint>
#include <ucontext.h>
#include <utility>
#include <vector>

struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

#define __global__
#define __device__
#define __launch_bounds__(threads)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static   // one block at a time

static inline int min(int a, int b) { return b < a ? b : a; }

namespace on_cpu {

constexpr size_t STACK = 1 << 16;
static ucontext_t scheduler;
static void (*body)(void *);
static void *body_argument;

struct Fibre {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK);
    Index index;
    bool finished;
};
static Fibre *running;

static void start()
{
    body(body_argument);
    running->finished = true;   // and on to uc_link, the scheduler
}

static void run_block(std::vector<Fibre> &fibres, bool &diverged)
{
    unsigned number = 0;
    for (Fibre &fibre : fibres) {
        fibre.index = {number % blockDim.x, number / blockDim.x % blockDim.y, number / blockDim.x / blockDim.y};
        fibre.finished = false;
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack.data();
        fibre.context.uc_stack.ss_size = STACK;
        fibre.context.uc_link = &scheduler;
        makecontext(&fibre.context, start, 0);
        ++number;
    }
    for (size_t left = fibres.size(); left > 0;) {
        size_t ended = 0;
        for (Fibre &fibre : fibres) {
            if (fibre.finished)
                continue;
            running = &fibre;
            threadIdx = fibre.index;
            swapcontext(&scheduler, &fibre.context);
            ended += fibre.finished;
        }
        if (ended != 0 && ended != left)
            diverged = true;
        left -= ended;
    }
}

template <class... P, size_t... I>
void call(void (*kernel)(P...), void **arguments, std::index_sequence<I...>)
{
    kernel(*static_cast<std::remove_reference_t<P> *>(arguments[I])...);
}

// Arguments as cuLaunchKernel takes them: an address of each.
template <class... P>
int launch(void (*kernel)(P...), const unsigned *grid, const unsigned *block, void **arguments)
{
    struct Call { void (*kernel)(P...); void **arguments; } with = {kernel, arguments};
    body = [](void *c) {
        call(static_cast<Call *>(c)->kernel, static_cast<Call *>(c)->arguments, std::index_sequence_for<P...>());
    };
    body_argument = &with;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    std::vector<Fibre> fibres(size_t(block[0]) * block[1] * block[2]);
    bool diverged = false;
    for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x)
                run_block(fibres, diverged);
    return diverged;
}

}   // namespace on_cpu

static inline void __syncthreads() { swapcontext(&on_cpu::running->context, &on_cpu::scheduler); }

#define LAUNCHER(name)                                                                                                 \
    extern "C" int launch_##name(const unsigned *grid, const unsigned *block, void **arguments)                       \
    {                                                                                                                  \
        return on_cpu::launch(name, grid, block, arguments);                                                           \
    }
