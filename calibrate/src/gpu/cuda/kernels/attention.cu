// Decode attention over a paged KV cache: flash-decoding. The context of a sequence is split
// over blocks; each computes a softmax-weighted sum of its part, and `combine` joins the parts.
//
// The up to 8 query heads that share a KV head sit in one block, so K and V are read once. The
// products run on tensor cores: S' = K Q' and O' = V' P' have the heads as their 8 columns.
// Which of the 16-byte loads a lane makes is free, because a product does not care about the
// order of what it sums over, and rows of O' may have any order that is known: so K and V go
// from memory to the registers where they are multiplied, without shared memory.
//
// Layout of each cache: [block][KV head][16 tokens][head dimension]. All that `tables` names must
// hold finite values, also behind the end of a context, because they are multiplied by zero.

#define WARPS 4

// What a block keeps of one warp's share.
template <int DIM>
struct Share {
    float sum[8][DIM + 4];
    float peak[8];
    float weight[8];
};

template <int DIM>
__device__ __forceinline__ void decode_attention(
    const bf16* __restrict__ q, const bf16* __restrict__ k_cache, const bf16* __restrict__ v_cache,
    const int* __restrict__ tables, const int* __restrict__ contexts, bf16* __restrict__ out,
    float* __restrict__ part_sums, float2* __restrict__ part_states, int q_stride, int table_stride, int kv_heads,
    int group, float scale_log2e) {
    __shared__ Share<DIM> shares[WARPS];
    const int slices = (group + 7) / 8;
    const int split = blockIdx.x, splits = gridDim.x;
    const int kv_head = blockIdx.y / slices, slice = blockIdx.y % slices;
    const int sequence = blockIdx.z;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
    const int heads = kv_heads * group, head_first = kv_head * group + slice * 8;
    const int heads_here = min(8, group - slice * 8);
    const int context = contexts[sequence];
    const int blocks = (context + KV_BLOCK - 1) / KV_BLOCK;
    const int blocks_each = (blocks + splits - 1) / splits;
    const int block_last = min((split + 1) * blocks_each, blocks);
    const int* table = tables + (i64)sequence * table_stride;

    // Lane (g, t) holds dimensions 32s+8t.. of query head g: the order that K's loads dictate.
    uint4 query[DIM / 32];
#pragma unroll
    for (int s = 0; s < DIM / 32; s++) {
        query[s] = make_uint4(0, 0, 0, 0);
        if (g < heads_here) {
            const bf16* row = q + (i64)sequence * q_stride + (i64)(head_first + g) * DIM;
            query[s] = *(const uint4*)(row + s * 32 + t * 8);
        }
    }

    // sum[4s+i] is rows 64s+8g+2i and +1 of O', columns (heads) 2t and 2t+1.
    float sum[DIM / 16][4];
#pragma unroll
    for (int i = 0; i < DIM / 16; i++) sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0.0f;
    float peak0 = NEGATIVE_INFINITY, peak1 = NEGATIVE_INFINITY, weight0 = 0.0f, weight1 = 0.0f;

    int block = split * blocks_each + warp;
    int page = block < block_last ? table[block] : 0;
    for (; block < block_last; block += WARPS) {
        const i64 base = ((i64)page * kv_heads + kv_head) * (KV_BLOCK * DIM);
        const bf16 *k = k_cache + base, *v = v_cache + base;
        uint4 keys[DIM / 32][2], values[DIM / 64][4];
#pragma unroll
        for (int s = 0; s < DIM / 32; s++) {
            keys[s][0] = *(const uint4*)(k + g * DIM + s * 32 + t * 8);
            keys[s][1] = *(const uint4*)(k + (g + 8) * DIM + s * 32 + t * 8);
        }
#pragma unroll
        for (int s = 0; s < DIM / 64; s++) {
            values[s][0] = *(const uint4*)(v + (2 * t) * DIM + s * 64 + g * 8);
            values[s][1] = *(const uint4*)(v + (2 * t + 1) * DIM + s * 64 + g * 8);
            values[s][2] = *(const uint4*)(v + (2 * t + 8) * DIM + s * 64 + g * 8);
            values[s][3] = *(const uint4*)(v + (2 * t + 9) * DIM + s * 64 + g * 8);
        }
        // The next page's number must not wait for this page's values.
        if (block + WARPS < block_last) page = table[block + WARPS];

        // Two sums, so that products need not wait for each other.
        float even[4] = {0.0f, 0.0f, 0.0f, 0.0f}, odd[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int s = 0; s < DIM / 32; s++) {
            multiply_16x8x16(even, keys[s][0].x, keys[s][1].x, keys[s][0].y, keys[s][1].y, query[s].x, query[s].y);
            multiply_16x8x16(odd, keys[s][0].z, keys[s][1].z, keys[s][0].w, keys[s][1].w, query[s].z, query[s].w);
        }

        // Tokens g and g+8 of this page, heads 2t and 2t+1.
        const int left = context - block * KV_BLOCK;
        float s0 = g < left ? (even[0] + odd[0]) * scale_log2e : NEGATIVE_INFINITY;
        float s1 = g < left ? (even[1] + odd[1]) * scale_log2e : NEGATIVE_INFINITY;
        float s2 = g + 8 < left ? (even[2] + odd[2]) * scale_log2e : NEGATIVE_INFINITY;
        float s3 = g + 8 < left ? (even[3] + odd[3]) * scale_log2e : NEGATIVE_INFINITY;
        float top0 = fmaxf(s0, s2), top1 = fmaxf(s1, s3);
#pragma unroll
        for (int step = 4; step < 32; step *= 2) {
            top0 = fmaxf(top0, __shfl_xor_sync(0xffffffffu, top0, step));
            top1 = fmaxf(top1, __shfl_xor_sync(0xffffffffu, top1, step));
        }
        // A page holds at least one token, so the new peaks are finite.
        top0 = fmaxf(top0, peak0);
        top1 = fmaxf(top1, peak1);
        const float shrink0 = exp2f(peak0 - top0), shrink1 = exp2f(peak1 - top1);
        peak0 = top0;
        peak1 = top1;
        s0 = exp2f(s0 - top0);
        s1 = exp2f(s1 - top1);
        s2 = exp2f(s2 - top0);
        s3 = exp2f(s3 - top1);
        weight0 = weight0 * shrink0 + s0 + s2;
        weight1 = weight1 * shrink1 + s1 + s3;
        const u32 p0 = transpose_8x8(pack(s0, s1)), p1 = transpose_8x8(pack(s2, s3));

#pragma unroll
        for (int s = 0; s < DIM / 64; s++) {
            const u32 v0[4] = {values[s][0].x, values[s][0].y, values[s][0].z, values[s][0].w};
            const u32 v1[4] = {values[s][1].x, values[s][1].y, values[s][1].z, values[s][1].w};
            const u32 v2[4] = {values[s][2].x, values[s][2].y, values[s][2].z, values[s][2].w};
            const u32 v3[4] = {values[s][3].x, values[s][3].y, values[s][3].z, values[s][3].w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float* o = sum[s * 4 + i];
                o[0] *= shrink0;
                o[1] *= shrink1;
                o[2] *= shrink0;
                o[3] *= shrink1;
                multiply_16x8x16(o, __byte_perm(v0[i], v1[i], 0x5410), __byte_perm(v0[i], v1[i], 0x7632),
                                 __byte_perm(v2[i], v3[i], 0x5410), __byte_perm(v2[i], v3[i], 0x7632), p0, p1);
            }
        }
    }

#pragma unroll
    for (int step = 4; step < 32; step *= 2) {
        weight0 += __shfl_xor_sync(0xffffffffu, weight0, step);
        weight1 += __shfl_xor_sync(0xffffffffu, weight1, step);
    }
    Share<DIM>& mine = shares[warp];
#pragma unroll
    for (int i = 0; i < DIM / 16; i++) {
        const int row = (i / 4) * 64 + g * 8 + (i % 4) * 2;
        mine.sum[2 * t][row] = sum[i][0];
        mine.sum[2 * t + 1][row] = sum[i][1];
        mine.sum[2 * t][row + 1] = sum[i][2];
        mine.sum[2 * t + 1][row + 1] = sum[i][3];
    }
    if (g == 0) {
        mine.peak[2 * t] = peak0;
        mine.peak[2 * t + 1] = peak1;
        mine.weight[2 * t] = weight0;
        mine.weight[2 * t + 1] = weight1;
    }
    __syncthreads();

    // The block's warps are joined, two dimensions a thread at a time.
    for (int i = threadIdx.x; i < heads_here * (DIM / 2); i += WARPS * 32) {
        const int head = i / (DIM / 2), row = i % (DIM / 2) * 2;
        float peak = shares[0].peak[head];
        for (int w = 1; w < WARPS; w++) peak = fmaxf(peak, shares[w].peak[head]);
        float weight = 0.0f, low = 0.0f, high = 0.0f;
        for (int w = 0; w < WARPS; w++) {
            // A warp without a page has no weight; its peak and the whole block's may be infinite.
            const float factor = shares[w].weight[head] > 0.0f ? exp2f(shares[w].peak[head] - peak) : 0.0f;
            weight += factor * shares[w].weight[head];
            low += factor * shares[w].sum[head][row];
            high += factor * shares[w].sum[head][row + 1];
        }
        const i64 index = (i64)sequence * heads + head_first + head;
        if (splits == 1) {
            const float inverse = weight > 0.0f ? 1.0f / weight : 0.0f;
            *(u32*)(out + index * DIM + row) = pack(low * inverse, high * inverse);
        } else {
            *(float2*)(part_sums + (index * splits + split) * DIM + row) = make_float2(low, high);
            if (row == 0) part_states[index * splits + split] = make_float2(peak, weight);
        }
    }
}

// 12 warps a multiprocessor with 8 KiB of loads in flight each: several times what the memory's
// latency times its bandwidth asks for (about 25 KiB on an H200).
extern "C" __global__ void __launch_bounds__(WARPS * 32, 3)
    decode_attention_64(const bf16* q, const bf16* k_cache, const bf16* v_cache, const int* tables,
                        const int* contexts, bf16* out, float* part_sums, float2* part_states, int q_stride,
                        int table_stride, int kv_heads, int group, float scale_log2e) {
    decode_attention<64>(q, k_cache, v_cache, tables, contexts, out, part_sums, part_states, q_stride, table_stride,
                         kv_heads, group, scale_log2e);
}

extern "C" __global__ void __launch_bounds__(WARPS * 32, 3)
    decode_attention_128(const bf16* q, const bf16* k_cache, const bf16* v_cache, const int* tables,
                         const int* contexts, bf16* out, float* part_sums, float2* part_states, int q_stride,
                         int table_stride, int kv_heads, int group, float scale_log2e) {
    decode_attention<128>(q, k_cache, v_cache, tables, contexts, out, part_sums, part_states, q_stride, table_stride,
                          kv_heads, group, scale_log2e);
}

// Joins the splits of one head of one sequence; a thread for each dimension.
extern "C" __global__ void combine(const float* __restrict__ part_sums, const float2* __restrict__ part_states,
                                   bf16* __restrict__ out, int splits) {
    const int dim = blockDim.x, row = threadIdx.x;
    const i64 index = (i64)blockIdx.y * gridDim.x + blockIdx.x;
    const float2* states = part_states + index * splits;
    float peak = NEGATIVE_INFINITY;
    for (int i = 0; i < splits; i++) peak = fmaxf(peak, states[i].x);
    float weight = 0.0f, sum = 0.0f;
    for (int i = 0; i < splits; i++) {
        const float factor = states[i].y > 0.0f ? exp2f(states[i].x - peak) : 0.0f;
        weight += factor * states[i].y;
        sum += factor * part_sums[(index * splits + i) * dim + row];
    }
    out[index * dim + row] = (bf16)bf16_bits(weight > 0.0f ? sum / weight : 0.0f);
}
