// What prefill attention needs around its two strided-batched products: K and V of one sequence
// side by side, a causal softmax, and the heads back in the order of the rows.

// Copies a sequence's pages to [KV head][token][dimension], whole pages.
extern "C" __global__ void gather(const bf16* __restrict__ k_cache, const bf16* __restrict__ v_cache,
                                  const int* __restrict__ table, bf16* __restrict__ k, bf16* __restrict__ v, int dim) {
    const int kv_heads = gridDim.y, head = blockIdx.y, eights = KV_BLOCK * dim / 8;
    const i64 from = ((i64)table[blockIdx.x] * kv_heads + head) * eights;
    const i64 to = ((i64)head * gridDim.x + blockIdx.x) * eights;
    for (int i = threadIdx.x; i < eights; i += blockDim.x) {
        ((uint4*)k)[to + i] = ((const uint4*)k_cache)[from + i];
        ((uint4*)v)[to + i] = ((const uint4*)v_cache)[from + i];
    }
}

// Scaled softmax in place over rows of `columns` scores. Row r of a batch belongs to new token
// `token_first + r / group`, which sees all `context` cached tokens and the new ones up to itself;
// what it does not see becomes 0.
extern "C" __global__ void causal_softmax(bf16* scores, int columns, int group, int context, int token_first,
                                          float scale_log2e) {
    uint4* row = (uint4*)(scores + ((i64)blockIdx.y * gridDim.x + blockIdx.x) * columns);
    const int seen = context + token_first + (int)blockIdx.x / group + 1;
    const int eights = columns / 8, eights_seen = min((seen + 7) / 8, eights);
    float peak = NEGATIVE_INFINITY;
    for (int i = threadIdx.x; i < eights_seen; i += blockDim.x) {
        float x[8];
        unpack_8(row[i], x);
        for (int j = 0; j < 8; j++) {
            if (i * 8 + j < seen) peak = fmaxf(peak, x[j]);
        }
    }
    // Every row sees at least itself, so the peak is finite.
    peak = block_max(peak);
    float weight = 0.0f;
    for (int i = threadIdx.x; i < eights_seen; i += blockDim.x) {
        float x[8];
        unpack_8(row[i], x);
        for (int j = 0; j < 8; j++) {
            if (i * 8 + j < seen) weight += exp2f((x[j] - peak) * scale_log2e);
        }
    }
    const float inverse = 1.0f / block_sum(weight);
    for (int i = threadIdx.x; i < eights; i += blockDim.x) {
        float x[8];
        unpack_8(row[i], x);
        for (int j = 0; j < 8; j++) x[j] = i * 8 + j < seen ? exp2f((x[j] - peak) * scale_log2e) * inverse : 0.0f;
        row[i] = pack_8(x);
    }
}

// Copies [KV head][token][head of the group][dimension] to rows of [head][dimension].
extern "C" __global__ void scatter(const bf16* __restrict__ from, bf16* __restrict__ out, int kv_heads, int group,
                                   int dim) {
    const int pieces = dim / 8, tokens = gridDim.x, token = blockIdx.x;
    uint4* row = (uint4*)out + (i64)token * kv_heads * group * pieces;
    for (int i = threadIdx.x; i < kv_heads * group * pieces; i += blockDim.x) {
        const int head = i / pieces, piece = i % pieces;
        const i64 index = (((i64)(head / group) * tokens + token) * group + head % group) * pieces + piece;
        row[i] = ((const uint4*)from)[index];
    }
}
