// What the two instructions of `warp.cu` compute, written from the fragment layouts of the PTX
// ISA (mma.m16n8k16 for bf16, movmatrix.m8n8): lane 4g+t holds rows g and g+8, columns 2t, 2t+1.
#pragma once

static float half_of(uint32_t pair, int which) { return which ? high_float(pair) : low_float(pair); }

static void multiply_16x8x16(float d[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    const u32 mine[6] = {a0, a1, a2, a3, b0, b1};
    memcpy(warp_slots[warp()][lane()], mine, sizeof mine);
    warp_wait();
    const int g = lane() / 4, t = lane() % 4;
    for (int e = 0; e < 4; e++) {
        const int row = g + (e / 2) * 8, column = 2 * t + e % 2;
        for (int k = 0; k < 16; k++) {
            // Registers of A: bit 0 is the lower eight rows, bit 1 the right eight columns.
            const u32* of_a = warp_slots[warp()][(row % 8) * 4 + (k % 8) / 2];
            const u32* of_b = warp_slots[warp()][column * 4 + (k % 8) / 2];
            d[e] += half_of(of_a[row / 8 + 2 * (k / 8)], k % 2) * half_of(of_b[4 + k / 8], k % 2);
        }
    }
    warp_wait();
}

static u32 transpose_8x8(u32 m) {
    warp_slots[warp()][lane()][0] = m;
    warp_wait();
    const int g = lane() / 4, t = lane() % 4;
    u32 out = 0;
    for (int e = 0; e < 2; e++) {
        // Element [g][2t+e] of the result is [2t+e][g] of the source.
        const u32 pair = warp_slots[warp()][(2 * t + e) * 4 + g / 2][0];
        out |= (g % 2 ? pair >> 16 : pair & 0xffff) << (16 * e);
    }
    warp_wait();
    return out;
}
