// Runs CUDA kernels on a CPU: each thread of a block is a fiber, and a block's fibers take turns
// at every barrier. Slow, and exact about what threads see of each other. Buffers end at a page
// that cannot be touched, and the sanitizer checks alignment, so wrong addresses end the test.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <functional>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct Index {
    uint32_t x, y, z;
};
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int min(int a, int b) { return a < b ? a : b; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline uint32_t __float_as_uint(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}
inline float __uint_as_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
// Selector nibbles 0..7 pick bytes of y:x.
inline uint32_t __byte_perm(uint32_t x, uint32_t y, uint32_t selector) {
    const uint64_t bytes = ((uint64_t)y << 32) | x;
    uint32_t out = 0;
    for (int i = 0; i < 4; i++) out |= (uint32_t)((bytes >> (8 * ((selector >> (4 * i)) & 7))) & 0xff) << (8 * i);
    return out;
}

// One block at a time, and in it one fiber at a time.
struct Fiber {
    ucontext_t context;
    Index index;
    bool done;
};
struct Barrier {
    uint32_t arrived = 0, round = 0;
};
static ucontext_t scheduler;
static std::vector<Fiber> fibers(1024);
static Fiber* current;
static Index blockIdx, blockDim, gridDim;
static Barrier block_barrier, warp_barriers[32];
static uint32_t warp_slots[32][32][6];
static const std::function<void()>* kernel_body;
#define threadIdx (current->index)

inline void wait_for(Barrier& barrier, uint32_t members) {
    const uint32_t round = barrier.round;
    if (++barrier.arrived == members) {
        barrier.arrived = 0;
        barrier.round++;
        return;
    }
    while (barrier.round == round) swapcontext(&current->context, &scheduler);
}
inline void __syncthreads() { wait_for(block_barrier, blockDim.x); }
inline uint32_t lane() { return threadIdx.x % 32; }
inline uint32_t warp() { return threadIdx.x / 32; }
inline void warp_wait() { wait_for(warp_barriers[warp()], 32); }

inline uint32_t exchange(uint32_t bits, int step) {
    warp_slots[warp()][lane()][0] = bits;
    warp_wait();
    const uint32_t other = warp_slots[warp()][lane() ^ step][0];
    warp_wait();
    return other;
}
inline float __shfl_xor_sync(uint32_t, float x, int step) {
    return __uint_as_float(exchange(__float_as_uint(x), step));
}
inline int __shfl_xor_sync(uint32_t, int x, int step) { return (int)exchange((uint32_t)x, step); }

static void fiber_main() {
    (*kernel_body)();
    current->done = true;
}

// Runs `body` for every thread of every block.
inline void launch(Index grid, uint32_t threads, const std::function<void()>& body) {
    static std::vector<std::vector<char>> stacks(1024, std::vector<char>(96 << 10));
    kernel_body = &body;
    gridDim = grid;
    blockDim = {threads, 1, 1};
    for (uint32_t n = 0; n < grid.x * grid.y * grid.z; n++) {
        blockIdx = {n % grid.x, n / grid.x % grid.y, n / grid.x / grid.y};
        for (uint32_t i = 0; i < threads; i++) {
            Fiber& fiber = fibers[i];
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = stacks[i].data();
            fiber.context.uc_stack.ss_size = stacks[i].size();
            fiber.context.uc_link = &scheduler;
            fiber.index = {i, 0, 0};
            fiber.done = false;
            makecontext(&fiber.context, fiber_main, 0);
        }
        for (uint32_t left = threads, turns = 0; left > 0; turns++) {
            left = 0;
            for (uint32_t i = 0; i < threads; i++) {
                if (fibers[i].done) continue;
                left++;
                current = &fibers[i];
                swapcontext(&scheduler, &current->context);
            }
            if (turns > 1000000) {
                fprintf(stderr, "a barrier that not all threads reach\n");
                abort();
            }
        }
    }
}

// Memory whose end is the end of what may be touched.
template <typename T>
struct Buffer {
    T* data;
    size_t len;
    explicit Buffer(size_t len) : len(len) {
        const size_t page = 4096, bytes = (len * sizeof(T) + 15) / 16 * 16, pages = (bytes + page - 1) / page;
        char* base = (char*)mmap(0, (pages + 1) * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED || mprotect(base + pages * page, page, PROT_NONE) != 0) abort();
        data = (T*)(base + pages * page - bytes);
    }
    Buffer(const Buffer&) = delete;
    T& operator[](size_t i) { return data[i]; }
    operator T*() { return data; }
};
