// The two instructions of a warp that CUDA C has no name for. Everything else in these files is
// plain CUDA C without headers, so a test can run it on a CPU with its own version of this file.

// D += A * B of bf16: A is 16x16, B is 16x8, D is 16x8 of f32. Lane 4g+t holds
// a[0] = A[g][2t..2t+1],   a[1] = A[g+8][2t..2t+1], a[2] = A[g][2t+8..2t+9], a[3] = A[g+8][2t+8..2t+9],
// b[0] = B[2t..2t+1][g],   b[1] = B[2t+8..2t+9][g],
// d[0..1] = D[g][2t..2t+1], d[2..3] = D[g+8][2t..2t+1] (PTX ISA, "mma.m16n8k16").
__device__ __forceinline__ void multiply_16x8x16(float d[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// Transposes an 8x8 matrix of bf16; lane 4g+t holds M[g][2t..2t+1] before and after.
__device__ __forceinline__ u32 transpose_8x8(u32 m) {
    u32 out;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(m));
    return out;
}
