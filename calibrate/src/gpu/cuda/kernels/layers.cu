// What lies between the matrix products of a decoder layer. Rows are tokens; all widths are
// multiples of 8, and all rows begin on 16 bytes.

// Copies the rows that `ids` names from the embedding.
extern "C" __global__ void embed(const int* __restrict__ ids, const bf16* __restrict__ table, bf16* __restrict__ out,
                                 int hidden) {
    const uint4* from = (const uint4*)(table + (i64)ids[blockIdx.x] * hidden);
    uint4* to = (uint4*)(out + (i64)blockIdx.x * hidden);
    for (int i = threadIdx.x; i < hidden / 8; i += blockDim.x) to[i] = from[i];
}

// Adds `delta` to the residual stream (if there is one) and writes its RMS norm. If `tail_row` is
// not negative, the last row of `out` belongs to that row instead of its own: the last token of a
// prefill, the only one of it that goes through the output embedding.
extern "C" __global__ void add_rms_norm(bf16* residual, const bf16* __restrict__ delta,
                                        const bf16* __restrict__ weight, bf16* __restrict__ out, int hidden,
                                        float epsilon, int tail_row) {
    const int row = tail_row >= 0 && blockIdx.x == gridDim.x - 1 ? tail_row : (int)blockIdx.x;
    uint4* stream = (uint4*)(residual + (i64)row * hidden);
    const uint4* change = delta ? (const uint4*)(delta + (i64)row * hidden) : 0;
    float squares = 0.0f;
    for (int i = threadIdx.x; i < hidden / 8; i += blockDim.x) {
        float x[8];
        unpack_8(stream[i], x);
        if (change) {
            float d[8];
            unpack_8(change[i], d);
            for (int j = 0; j < 8; j++) x[j] += d[j];
            stream[i] = pack_8(x);
        }
        for (int j = 0; j < 8; j++) squares += x[j] * x[j];
    }
    const float factor = rsqrtf(block_sum(squares) / hidden + epsilon);
    uint4* to = (uint4*)(out + (i64)blockIdx.x * hidden);
    // Each thread reads back only what it wrote itself.
    for (int i = threadIdx.x; i < hidden / 8; i += blockDim.x) {
        float x[8], w[8];
        unpack_8(stream[i], x);
        unpack_8(((const uint4*)weight)[i], w);
        for (int j = 0; j < 8; j++) x[j] *= factor * w[j];
        to[i] = pack_8(x);
    }
}

// Rotates Q and K of each row by the angles of its position (first half of a head against its
// second), and writes K and V to the slot of the cache. Q of the rows from `prefill_first` on
// goes to `q_prefill`, as [KV head][token][head of the group][dimension]; others stay in place.
extern "C" __global__ void rotate_and_store(bf16* qkv, const float2* __restrict__ angles,
                                            const int* __restrict__ slots, bf16* __restrict__ k_cache,
                                            bf16* __restrict__ v_cache, bf16* __restrict__ q_prefill, int kv_heads,
                                            int group, int dim, int prefill_first) {
    const int heads = kv_heads * group, row = blockIdx.x, half = dim / 2;
    bf16* mine = qkv + (i64)row * (heads + 2 * kv_heads) * dim;
    const float2* turns = angles + (i64)row * half;
    const int slot = slots[row];
    const i64 page = (i64)(slot / KV_BLOCK) * kv_heads;
    const int place = slot % KV_BLOCK;

    const int pieces = half / 8;
    for (int i = threadIdx.x; i < (heads + kv_heads) * pieces; i += blockDim.x) {
        const int head = i / pieces, first = i % pieces * 8;
        const bf16* from = mine + (i64)head * dim + first;
        float a[8], b[8], x[8], y[8];
        unpack_8(*(const uint4*)from, a);
        unpack_8(*(const uint4*)(from + half), b);
        for (int j = 0; j < 8; j++) {
            const float2 turn = turns[first + j];
            x[j] = a[j] * turn.x - b[j] * turn.y;
            y[j] = b[j] * turn.x + a[j] * turn.y;
        }
        bf16* to = mine + (i64)head * dim;
        if (head >= heads) {
            to = k_cache + ((page + head - heads) * KV_BLOCK + place) * dim;
        } else if (row >= prefill_first) {
            const i64 tokens = (int)gridDim.x - prefill_first;
            to = q_prefill + (((head / group) * tokens + row - prefill_first) * group + head % group) * dim;
        }
        *(uint4*)(to + first) = pack_8(x);
        *(uint4*)(to + first + half) = pack_8(y);
    }
    for (int i = threadIdx.x; i < kv_heads * (dim / 8); i += blockDim.x) {
        const int head = i / (dim / 8), first = i % (dim / 8) * 8;
        const uint4 value = *(const uint4*)(mine + (i64)(heads + kv_heads + head) * dim + first);
        *(uint4*)(v_cache + ((page + head) * KV_BLOCK + place) * dim + first) = value;
    }
}

// silu(gate) * up of rows that hold both, one behind the other.
extern "C" __global__ void silu_multiply(const bf16* __restrict__ gate_up, bf16* __restrict__ out, int width) {
    const int i = blockIdx.y * blockDim.x + threadIdx.x;
    if (i >= width / 8) return;
    const uint4* row = (const uint4*)(gate_up + (i64)blockIdx.x * 2 * width);
    float gate[8], up[8];
    unpack_8(row[i], gate);
    unpack_8(row[width / 8 + i], up);
    for (int j = 0; j < 8; j++) gate[j] = gate[j] / (1.0f + __expf(-gate[j])) * up[j];
    ((uint4*)(out + (i64)blockIdx.x * width))[i] = pack_8(gate);
}

// The most likely token of each row of logits, the first of equals. Rows are `stride` apart.
extern "C" __global__ void sample(const bf16* __restrict__ logits, int* __restrict__ out, int vocabulary, int stride) {
    __shared__ float values[32];
    __shared__ int places[32];
    const uint4* row = (const uint4*)(logits + (i64)blockIdx.x * stride);
    float best = NEGATIVE_INFINITY;
    int place = 0x7fffffff;
    for (int i = threadIdx.x; i < stride / 8; i += blockDim.x) {
        float x[8];
        unpack_8(row[i], x);
        for (int j = 0; j < 8; j++) {
            if (i * 8 + j < vocabulary && x[j] > best) {
                best = x[j];
                place = i * 8 + j;
            }
        }
    }
    for (int round = 0; round < 2; round++) {
        for (int step = 16; step > 0; step /= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, best, step);
            const int other_place = __shfl_xor_sync(0xffffffffu, place, step);
            if (other > best || (other == best && other_place < place)) {
                best = other;
                place = other_place;
            }
        }
        if (round == 1) break;
        if (threadIdx.x % 32 == 0) {
            values[threadIdx.x / 32] = best;
            places[threadIdx.x / 32] = place;
        }
        __syncthreads();
        const int known = threadIdx.x % 32 < blockDim.x / 32;
        best = known ? values[threadIdx.x % 32] : NEGATIVE_INFINITY;
        place = known ? places[threadIdx.x % 32] : 0x7fffffff;
    }
    if (threadIdx.x == 0) out[blockIdx.x] = place == 0x7fffffff ? 0 : place;
}

// Fills `eights` times 16 bytes with random bf16 of both signs. Their exponents are the four from
// `exponent` on (127 is 1.0), so none is zero, tiny or infinite.
extern "C" __global__ void fill(uint4* out, u64 eights, u64 seed, u32 exponent) {
    const u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < eights; i += step) {
        u32 words[4];
        for (int half = 0; half < 2; half++) {
            // The finaliser of splitmix64.
            u64 z = (seed + 2 * i + half + 1) * 0x9e3779b97f4a7c15ull;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
            z ^= z >> 31;
            words[2 * half] = (u32)z;
            words[2 * half + 1] = (u32)(z >> 32);
        }
        // Of each bf16, sign and mantissa stay (0x807f) and two more bits choose the exponent.
        for (int j = 0; j < 4; j++) {
            const u32 chosen = ((words[j] >> 7) & 0x00030003u) + exponent * 0x00010001u;
            words[j] = (words[j] & 0x807f807fu) | (chosen << 7);
        }
        out[i] = make_uint4(words[0], words[1], words[2], words[3]);
    }
}
