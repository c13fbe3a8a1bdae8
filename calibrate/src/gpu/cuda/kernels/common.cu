// What all kernels share. No header is included, so that NVRTC needs none: bf16 is the upper
// half of an f32, kept in an unsigned short.

typedef unsigned short bf16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

// Tokens of a block of the paged KV cache.
#define KV_BLOCK 16
#define NEGATIVE_INFINITY __uint_as_float(0xff800000u)

__device__ __forceinline__ float low_float(u32 pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_float(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }

// Rounds to nearest, ties to even, as the hardware does; NaN stays NaN.
__device__ __forceinline__ u32 bf16_bits(float x) {
    u32 bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

__device__ __forceinline__ u32 pack(float low, float high) { return bf16_bits(low) | (bf16_bits(high) << 16); }

// Eight bf16 and eight f32.
__device__ __forceinline__ void unpack_8(uint4 v, float f[8]) {
    u32 w[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        f[2 * i] = low_float(w[i]);
        f[2 * i + 1] = high_float(w[i]);
    }
}

__device__ __forceinline__ uint4 pack_8(const float f[8]) {
    uint4 v;
    v.x = pack(f[0], f[1]);
    v.y = pack(f[2], f[3]);
    v.z = pack(f[4], f[5]);
    v.w = pack(f[6], f[7]);
    return v;
}

// Sum over a block of up to 1024 threads; every thread gets it.
__device__ __forceinline__ float block_sum(float x) {
    __shared__ float parts[32];
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    __syncthreads();
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0.0f;
    for (int i = 0; i < (int)blockDim.x / 32; i++) sum += parts[i];
    return sum;
}

// Maximum over a block of up to 1024 threads; every thread gets it.
__device__ __forceinline__ float block_max(float x) {
    __shared__ float parts[32];
    for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    __syncthreads();
    if ((threadIdx.x & 31) == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    float largest = parts[0];
    for (int i = 1; i < (int)blockDim.x / 32; i++) largest = fmaxf(largest, parts[i]);
    return largest;
}
