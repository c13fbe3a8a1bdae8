// Compares every kernel with a plain computation. Prints what deviates and ends with 1.
#include "device.h"

#include "../../src/gpu/cuda/kernels/common.cu"
#include "warp.h"
// After it, because it uses the two.
#include "../../src/gpu/cuda/kernels/attention.cu"
#include "../../src/gpu/cuda/kernels/layers.cu"
#include "../../src/gpu/cuda/kernels/prefill.cu"

static int failures = 0;
static uint64_t state = 1;

static double uniform() {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(state >> 11) / 9007199254740992.0 * 2.0 - 1.0;
}
static int below(int n) { return (int)((uniform() + 1.0) / 2.0 * n) % n; }
static float value(bf16 x) { return low_float(x); }
static void fill_uniform(Buffer<bf16>& buffer, double scale) {
    for (size_t i = 0; i < buffer.len; i++) buffer[i] = (bf16)bf16_bits((float)(uniform() * scale));
}
static void expect(const char* what, size_t i, double got, double expected, double tolerance) {
    if (fabs(got - expected) <= tolerance) return;
    if (++failures <= 20) printf("%s[%zu] is %.6g and should be %.6g\n", what, i, got, expected);
}

// Pages in random order, as after hours of serving.
static void shuffle(Buffer<int>& table) {
    for (size_t i = 0; i < table.len; i++) table[i] = (int)i;
    for (size_t i = table.len; i > 1; i--) {
        const int j = below((int)i), kept = table[i - 1];
        table[i - 1] = table[j];
        table[j] = kept;
    }
}

struct Attention {
    int dim, kv_heads, group, splits;
    std::vector<int> contexts;
};

static void check_decode(const Attention& a) {
    const int heads = a.kv_heads * a.group, batch = (int)a.contexts.size(), stride = (heads + 2 * a.kv_heads) * a.dim;
    int pages = 1;
    for (int context : a.contexts) pages = pages > (context + 15) / 16 ? pages : (context + 15) / 16;
    Buffer<bf16> q((size_t)batch * stride), k((size_t)batch * pages * a.kv_heads * 16 * a.dim), v(k.len);
    Buffer<bf16> out((size_t)batch * heads * a.dim);
    Buffer<int> tables((size_t)batch * pages), contexts(batch);
    Buffer<float> sums((size_t)batch * heads * a.splits * a.dim);
    Buffer<float2> states((size_t)batch * heads * a.splits);
    fill_uniform(q, 2.0);
    fill_uniform(k, 2.0);
    fill_uniform(v, 1.0);
    shuffle(tables);
    for (int i = 0; i < batch; i++) contexts[i] = a.contexts[i];
    // Large enough for a softmax that some tokens dominate, and some heads' first pages do not.
    const double scale = 0.3;
    const uint32_t slices = (a.group + 7) / 8;
    launch({(uint32_t)a.splits, a.kv_heads * slices, (uint32_t)batch}, 128, [&] {
        auto kernel = a.dim == 64 ? decode_attention_64 : decode_attention_128;
        kernel(q, k, v, tables, contexts, out, sums, states, stride, pages, a.kv_heads, a.group,
               (float)(scale * 1.4426950408889634));
    });
    if (a.splits > 1) {
        launch({(uint32_t)heads, (uint32_t)batch, 1}, a.dim, [&] { combine(sums, states, out, a.splits); });
    }
    for (int s = 0; s < batch; s++) {
        for (int h = 0; h < heads; h++) {
            std::vector<double> weights(a.contexts[s] + 1), expected(a.dim);
            auto at = [&](Buffer<bf16>& cache, int token, int d) {
                const size_t page = tables[(size_t)s * pages + token / 16];
                return value(cache[((page * a.kv_heads + h / a.group) * 16 + token % 16) * a.dim + d]);
            };
            double total = 0.0;
            for (int token = 0; token < a.contexts[s]; token++) {
                double score = 0.0;
                for (int d = 0; d < a.dim; d++) {
                    score += (double)value(q[(size_t)s * stride + h * a.dim + d]) * at(k, token, d);
                }
                weights[token] = exp(score * scale);
                total += weights[token];
            }
            for (int d = 0; d < a.dim; d++) {
                for (int token = 0; token < a.contexts[s]; token++) {
                    expected[d] += weights[token] / total * at(v, token, d);
                }
                const size_t i = ((size_t)s * heads + h) * a.dim + d;
                expect("attention", i, value(out[i]), expected[d], 0.008);
            }
        }
    }
}

static void check_norm(int rows, int hidden, bool add, int tail) {
    Buffer<bf16> stream((size_t)rows * hidden), delta(stream.len), weight(hidden);
    const int outs = tail < 0 ? rows : 2;
    Buffer<bf16> out((size_t)outs * hidden);
    fill_uniform(stream, 2.0);
    fill_uniform(delta, 2.0);
    fill_uniform(weight, 1.0);
    std::vector<double> before(stream.len);
    for (size_t i = 0; i < stream.len; i++) before[i] = value(stream[i]) + (add ? value(delta[i]) : 0.0f);
    launch({(uint32_t)outs, 1, 1}, 256,
           [&] { add_rms_norm(stream, add ? delta.data : 0, weight, out, hidden, 1e-5f, tail); });
    for (int o = 0; o < outs; o++) {
        const size_t row = tail >= 0 && o == outs - 1 ? tail : o;
        double squares = 0.0;
        for (int i = 0; i < hidden; i++) squares += before[row * hidden + i] * before[row * hidden + i];
        for (int i = 0; i < hidden; i++) {
            const double x = before[row * hidden + i];
            const double expected = x / sqrt(squares / hidden + 1e-5) * value(weight[i]);
            expect("norm", (size_t)o * hidden + i, value(out[(size_t)o * hidden + i]), expected, 0.01 * fabs(expected) + 1e-3);
            expect("stream", row * hidden + i, value(stream[row * hidden + i]), x, 0.004 * fabs(x));
        }
    }
}

static void check_rotation(int dim, int kv_heads, int group, int decodes, int prefills) {
    const int rows = decodes + prefills, heads = kv_heads * group, width = heads + 2 * kv_heads, pages = rows;
    Buffer<bf16> qkv((size_t)rows * width * dim), k((size_t)pages * kv_heads * 16 * dim), v(k.len);
    Buffer<bf16> q_prefill((size_t)prefills * heads * dim + 8);
    Buffer<float2> angles((size_t)rows * dim / 2);
    Buffer<int> slots(rows);
    fill_uniform(qkv, 1.0);
    std::vector<float> before(qkv.len);
    for (size_t i = 0; i < qkv.len; i++) before[i] = value(qkv[i]);
    for (size_t i = 0; i < angles.len; i++) {
        const double turn = uniform() * 3.0;
        angles[i] = {(float)cos(turn), (float)sin(turn)};
    }
    for (int i = 0; i < rows; i++) slots[i] = (rows - 1 - i) * 16 + below(16);
    launch({(uint32_t)rows, 1, 1}, 256,
           [&] { rotate_and_store(qkv, angles, slots, k, v, q_prefill, kv_heads, group, dim, decodes); });
    for (int row = 0; row < rows; row++) {
        for (int head = 0; head < width; head++) {
            for (int d = 0; d < dim; d++) {
                const float* x = &before[((size_t)row * width + head) * dim];
                const float2 turn = angles[(size_t)row * dim / 2 + d % (dim / 2)];
                const int kv_head = head < heads + kv_heads ? head - heads : head - heads - kv_heads;
                const size_t cached = (((size_t)(slots[row] / 16) * kv_heads + kv_head) * 16 + slots[row] % 16) * dim + d;
                double expected = d < dim / 2 ? x[d] * turn.x - x[d + dim / 2] * turn.y
                                              : x[d] * turn.x + x[d - dim / 2] * turn.y;
                if (head >= heads + kv_heads) {
                    expect("stored V", cached, value(v[cached]), x[d], 0.0);
                } else if (head >= heads) {
                    expect("stored K", cached, value(k[cached]), expected, 0.006);
                } else if (row < decodes) {
                    const size_t i = ((size_t)row * width + head) * dim + d;
                    expect("rotated Q", i, value(qkv[i]), expected, 0.006);
                } else {
                    const size_t token = ((size_t)(head / group) * prefills + row - decodes) * group + head % group;
                    expect("prefill Q", token * dim + d, value(q_prefill[token * dim + d]), expected, 0.006);
                }
            }
        }
    }
}

// The three kernels of prefill attention around two plain products, as the backend chains them,
// against causal attention by its definition.
static void check_prefill(int dim, int kv_heads, int group, int context, int tokens, int tile) {
    const int total = context + tokens, pages = (total + 15) / 16, heads = kv_heads * group, padded = pages * 16;
    Buffer<bf16> k_cache((size_t)(pages + 3) * kv_heads * 16 * dim), v_cache(k_cache.len);
    Buffer<bf16> k((size_t)padded * kv_heads * dim), v(k.len), q((size_t)tokens * heads * dim), o(q.len), out(q.len);
    Buffer<int> table(pages + 3);
    fill_uniform(q, 1.0);
    fill_uniform(k_cache, 1.0);
    fill_uniform(v_cache, 1.0);
    shuffle(table);
    const double scale = 0.3;
    launch({(uint32_t)pages, (uint32_t)kv_heads, 1}, 128, [&] { gather(k_cache, v_cache, table, k, v, dim); });
    for (int first = 0; first < tokens; first += tile) {
        const int some = min(tile, tokens - first), rows = some * group;
        const int columns = (context + first + some + 15) / 16 * 16;
        Buffer<bf16> scores((size_t)kv_heads * rows * columns);
        auto query = [&](int h, int r) { return q + ((size_t)(h * tokens + first) * group + r) * dim; };
        for (int h = 0; h < kv_heads; h++) {
            for (int r = 0; r < rows; r++) {
                for (int c = 0; c < columns; c++) {
                    float sum = 0.0f;
                    for (int d = 0; d < dim; d++) sum += value(query(h, r)[d]) * value(k[((size_t)h * padded + c) * dim + d]);
                    scores[((size_t)h * rows + r) * columns + c] = (bf16)bf16_bits(sum);
                }
            }
        }
        launch({(uint32_t)rows, (uint32_t)kv_heads, 1}, 64, [&] {
            causal_softmax(scores, columns, group, context, first, (float)(scale * 1.4426950408889634));
        });
        for (int h = 0; h < kv_heads; h++) {
            for (int r = 0; r < rows; r++) {
                for (int d = 0; d < dim; d++) {
                    float sum = 0.0f;
                    for (int c = 0; c < columns; c++) {
                        sum += value(scores[((size_t)h * rows + r) * columns + c]) * value(v[((size_t)h * padded + c) * dim + d]);
                    }
                    o[((size_t)(h * tokens + first) * group + r) * dim + d] = (bf16)bf16_bits(sum);
                }
            }
        }
    }
    launch({(uint32_t)tokens, 1, 1}, 128, [&] { scatter(o, out, kv_heads, group, dim); });
    for (int token = 0; token < tokens; token++) {
        for (int head = 0; head < heads; head++) {
            const int h = head / group, seen = context + token + 1;
            auto at = [&](Buffer<bf16>& cache, int i, int d) {
                return (double)value(cache[(((size_t)table[i / 16] * kv_heads + h) * 16 + i % 16) * dim + d]);
            };
            std::vector<double> weights(seen);
            double sum = 0.0;
            for (int i = 0; i < seen; i++) {
                double score = 0.0;
                for (int d = 0; d < dim; d++) {
                    score += value(q[(((size_t)h * tokens + token) * group + head % group) * dim + d]) * at(k_cache, i, d);
                }
                sum += weights[i] = exp(score * scale);
            }
            for (int d = 0; d < dim; d++) {
                double expected = 0.0;
                for (int i = 0; i < seen; i++) expected += weights[i] / sum * at(v_cache, i, d);
                const size_t i = ((size_t)token * heads + head) * dim + d;
                expect("prefill", i, value(out[i]), expected, 0.012);
            }
        }
    }
}

static void check_small_ones() {
    const int rows = 3, width = 2056;
    Buffer<bf16> table((size_t)11 * width), rows_out((size_t)rows * width), gate_up((size_t)rows * 2 * width);
    Buffer<int> ids(rows), tokens(rows);
    fill_uniform(table, 1.0);
    fill_uniform(gate_up, 4.0);
    for (int r = 0; r < rows; r++) ids[r] = 10 - 5 * r;
    launch({rows, 1, 1}, 256, [&] { embed(ids, table, rows_out, width); });
    for (size_t i = 0; i < rows_out.len; i++) {
        expect("embedding", i, value(rows_out[i]), value(table[(size_t)ids[i / width] * width + i % width]), 0.0);
    }
    launch({rows, (width / 8 + 255) / 256, 1}, 256, [&] { silu_multiply(gate_up, rows_out, width); });
    for (size_t i = 0; i < rows_out.len; i++) {
        const double gate = value(gate_up[i / width * 2 * width + i % width]);
        const double expected = gate / (1.0 + exp(-gate)) * value(gate_up[i / width * 2 * width + width + i % width]);
        expect("silu", i, value(rows_out[i]), expected, 0.005 * fabs(expected) + 1e-6);
    }
    // The largest of row 0 stands twice, of row 1 behind the vocabulary, of row 2 at its very end.
    const int vocabulary = width - 5;
    for (int r = 0; r < rows; r++) memcpy(rows_out + (size_t)r * width, gate_up + (size_t)r * width, width * 2);
    const bf16 ten = (bf16)bf16_bits(20.0f), twenty = (bf16)bf16_bits(40.0f);
    rows_out[1999] = rows_out[77] = ten;
    rows_out[width + 1234] = ten;
    rows_out[width + vocabulary] = twenty;
    rows_out[2 * width + vocabulary - 1] = ten;
    launch({rows, 1, 1}, 1024, [&] { sample(rows_out, tokens, vocabulary, width); });
    const int best[3] = {77, 1234, vocabulary - 1};
    for (int r = 0; r < rows; r++) expect("sampled", r, tokens[r], best[r], 0.0);

    Buffer<uint4> random(5000);
    launch({7, 1, 1}, 256, [&] { fill(random, random.len, 42, 118); });
    double sum = 0.0;
    int exponents[256] = {0};
    const bf16* numbers = (const bf16*)random.data;
    for (size_t i = 0; i < random.len * 8; i++) {
        sum += value(numbers[i]);
        exponents[(numbers[i] >> 7) & 0xff]++;
    }
    for (int e = 0; e < 256; e++) expect("exponents", e, exponents[e], e >= 118 && e < 122 ? 10000 : 0, 500);
    expect("sum of random numbers", 0, sum / (random.len * 8), 0.0, 2e-4);
}

int main() {
    const std::vector<int> mixed = {0, 1, 12, 33, 100, 253}, one = {1100};
    const Attention cases[] = {
        {128, 2, 4, 1, mixed}, {128, 2, 4, 3, mixed}, {128, 1, 7, 5, mixed}, {128, 2, 1, 2, mixed},
        {128, 1, 8, 16, one},  {64, 2, 7, 1, mixed},  {64, 1, 7, 4, mixed},  {64, 1, 12, 3, mixed},
        {64, 1, 16, 1, mixed}, {128, 1, 9, 2, mixed}, {64, 1, 2, 70, one},
    };
    for (const Attention& a : cases) check_decode(a);
    check_norm(3, 4096, true, -1);
    check_norm(3, 896, false, -1);
    check_norm(5, 3584, true, 4);
    check_rotation(128, 2, 4, 3, 2);
    check_rotation(64, 2, 7, 0, 5);
    check_rotation(128, 1, 1, 2, 0);
    check_prefill(64, 2, 3, 0, 37, 64);
    check_prefill(128, 1, 4, 21, 40, 16);
    check_prefill(64, 1, 7, 64, 1, 8);
    check_small_ones();
    printf("%d deviations\n", failures);
    return failures > 0;
}
