//! Products through cuBLASLt: each distinct one is planned once, the best of the algorithms it
//! proposes found by trying, and kept.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;

use super::memory::{DeviceMemory, Gpu, failed, newer};
use super::product::{ColumnMajor, Product};
use crate::{Fault, Result, fault};

/// Bytes of scratch memory: what NVIDIA advises for Hopper, and enough for older ones.
static WORKSPACE: u64 = 32 << 20;
/// Algorithms that are tried.
const CANDIDATES: usize = 8;
/// Timed runs of each.
const RUNS: usize = 3;
/// What every address and every step of ours is a multiple of, bytes.
static ALIGNMENT: u32 = 16;
/// `CUBLAS_OP_T` of `cublasOperation_t`, which cudarc binds in cuBLAS only.
static CUBLAS_OP_T: i32 = 1;

fn lt(what: &str) -> impl FnOnce(CublasError) -> Vec<Fault> {
    move |error| fault("E0709", format!("{what}: {error}"))
}

/// A layout, destroyed with its owner.
#[derive(Debug)]
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    #[allow(unsafe_code)]
    fn new(matrix: &ColumnMajor, batch: u32) -> Result<Self> {
        use sys::cublasLtMatrixLayoutAttribute_t::{
            CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
        };
        let kind = sys::cudaDataType::CUDA_R_16BF;
        let made = result::create_matrix_layout(kind, matrix.rows, matrix.columns, matrix.leading);
        let layout = Self(made.map_err(lt("cuBLASLt makes no layout"))?);
        if batch > 1 {
            let count = i32::try_from(batch).map_err(|_| fault("E0709", "too large a batch"))?;
            // SAFETY: the layout is alive; the attributes are an i32 and an i64, which are copied.
            unsafe {
                let count = (&raw const count).cast();
                result::set_matrix_layout_attribute(layout.0, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, count, 4)
                    .map_err(lt("cuBLASLt takes no batch"))?;
                let step = (&raw const matrix.step).cast();
                result::set_matrix_layout_attribute(
                    layout.0,
                    CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                    step,
                    8,
                )
                .map_err(lt("cuBLASLt takes no step"))?;
            }
        }
        Ok(layout)
    }
}

impl Drop for Layout {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `create_matrix_layout`, destroyed only here.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// What is computed how, destroyed with its owner.
#[derive(Debug)]
struct Operation(sys::cublasLtMatmulDesc_t);

impl Operation {
    #[allow(unsafe_code)]
    fn new(transpose_a: bool) -> Result<Self> {
        let (compute, scale) = (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType::CUDA_R_32F);
        let made = result::create_matmul_desc(compute, scale);
        let operation = Self(made.map_err(lt("cuBLASLt makes no operation"))?);
        if transpose_a {
            let attribute = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
            // SAFETY: the operation is alive; the attribute is an i32, which is copied.
            unsafe {
                result::set_matmul_desc_attribute(operation.0, attribute, (&raw const CUBLAS_OP_T).cast(), 4)
            }
            .map_err(lt("cuBLASLt transposes nothing"))?;
        }
        Ok(operation)
    }
}

impl Drop for Operation {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `create_matmul_desc`, destroyed only here.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// Limits for the choice of algorithms, destroyed with its owner.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    #[allow(unsafe_code)]
    fn new() -> Result<Self> {
        use sys::cublasLtMatmulPreferenceAttributes_t::{
            CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        };
        let preference = Self(result::create_matmul_pref().map_err(lt("cuBLASLt makes no preference"))?);
        let workspace = (&raw const WORKSPACE).cast::<c_void>();
        // SAFETY: the preference is alive; the attribute is a u64, which is copied.
        unsafe {
            let attribute = CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
            result::set_matmul_pref_attribute(preference.0, attribute, workspace, 8)
        }
        .map_err(lt("cuBLASLt takes no limit"))?;
        // Without these it assumes 256 bytes, which parts of a batch do not keep.
        for attribute in [
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            let alignment = (&raw const ALIGNMENT).cast();
            // SAFETY: as above; the attribute is a u32.
            unsafe { result::set_matmul_pref_attribute(preference.0, attribute, alignment, 4) }
                .map_err(lt("cuBLASLt takes no alignment"))?;
        }
        Ok(preference)
    }
}

impl Drop for Preference {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `create_matmul_pref`, destroyed only here.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

/// A product that is ready to run.
#[derive(Debug)]
struct Plan {
    operation: Operation,
    a: Layout,
    b: Layout,
    d: Layout,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// Where the matrices of a product are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operands {
    /// Address of the left factor.
    pub(super) left: u64,
    /// Address of the right factor.
    pub(super) right: u64,
    /// Address of the result.
    pub(super) out: u64,
}

/// The library, its scratch memory, and all products planned so far.
#[derive(Debug)]
pub(super) struct Blas {
    // Before the handle, so that they are dropped first.
    plans: BTreeMap<Product, Plan>,
    workspace: DeviceMemory,
    handle: Handle,
    gpu: Gpu,
}

/// cuBLASLt itself.
#[derive(Debug)]
struct Handle(sys::cublasLtHandle_t);

impl Drop for Handle {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: made by `create_handle`, destroyed only here.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}

impl Blas {
    /// Starts the library.
    ///
    /// # Errors
    /// What it reports.
    pub(super) fn open(gpu: &Gpu) -> Result<Self> {
        gpu.context.bind_to_thread().map_err(failed("no context"))?;
        let handle = Handle(result::create_handle().map_err(|e| newer(lt("cuBLASLt does not start")(e)))?);
        Ok(Self { plans: BTreeMap::new(), workspace: gpu.allocate(WORKSPACE)?, handle, gpu: gpu.clone() })
    }

    /// Makes a product ready, unless it is: asks for algorithms and times them, each over the
    /// operands in turn, so that weights come from memory as they will later. Overwrites `out`.
    /// Without operands it takes the library's first proposal.
    ///
    /// # Errors
    /// No algorithm that works, and what the device reports.
    pub(super) fn plan(&mut self, product: &Product, operands: &[Operands]) -> Result<()> {
        if self.plans.contains_key(product) {
            return Ok(());
        }
        let mut plan = Plan::new(product)?;
        let candidates = self.candidates(&plan)?;
        if candidates.len() > 1 && !operands.is_empty() {
            let mut best = f32::INFINITY;
            let (start, end) = (self.gpu.event()?, self.gpu.event()?);
            let mut fastest = candidates[0];
            for candidate in candidates {
                plan.algorithm = candidate;
                let mut turns = operands.iter().cycle();
                let mut run = || turns.next().map_or(Ok(()), |o| self.run(&plan, o));
                // An algorithm may be refused when it is run; the others are left.
                if run().is_err() {
                    continue;
                }
                self.gpu.record(&start)?;
                for _ in 0..RUNS {
                    run()?;
                }
                self.gpu.record(&end)?;
                let time = start.elapsed_ms(&end).map_err(failed("cannot time a product"))?;
                if time < best {
                    (best, fastest) = (time, candidate);
                }
            }
            if best.is_infinite() {
                return Err(fault("E0709", format!("cuBLASLt runs none of its algorithms for {product:?}")));
            }
            plan.algorithm = fastest;
        } else if let Some(&only) = candidates.first() {
            plan.algorithm = only;
        } else {
            return Err(fault("E0709", format!("cuBLASLt has no algorithm for {product:?}")));
        }
        self.plans.insert(*product, plan);
        Ok(())
    }

    #[allow(unsafe_code)]
    fn candidates(&self, plan: &Plan) -> Result<Vec<sys::cublasLtMatmulAlgo_t>> {
        let preference = Preference::new()?;
        let none = sys::cublasLtMatmulHeuristicResult_t {
            algo: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
            workspaceSize: 0,
            state: sys::cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED,
            wavesCount: 0.0,
            reserved: [0; 4],
        };
        let mut found = [none; CANDIDATES];
        let mut count = 0;
        // SAFETY: all descriptions are alive, and there is room for `CANDIDATES` results.
        unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.handle.0,
                plan.operation.0,
                plan.a.0,
                plan.b.0,
                plan.d.0,
                plan.d.0,
                preference.0,
                i32::try_from(CANDIDATES).expect("8"),
                found.as_mut_ptr(),
                &raw mut count,
            )
        }
        .result()
        .map_err(lt("cuBLASLt proposes no algorithm"))?;
        let count = usize::try_from(count).unwrap_or(0).min(CANDIDATES);
        let usable = |r: &&sys::cublasLtMatmulHeuristicResult_t| {
            r.state == sys::cublasStatus_t::CUBLAS_STATUS_SUCCESS && r.workspaceSize as u64 <= WORKSPACE
        };
        Ok(found[..count].iter().filter(usable).map(|r| r.algo).collect())
    }

    /// Sends a planned product to the stream.
    ///
    /// # Errors
    /// A product that was not planned, and what the library reports.
    pub(super) fn multiply(&self, product: &Product, operands: &Operands) -> Result<()> {
        match self.plans.get(product) {
            Some(plan) => self.run(plan, operands),
            None => Err(fault("E0709", format!("not planned: {product:?}"))),
        }
    }

    #[allow(unsafe_code)]
    fn run(&self, plan: &Plan, operands: &Operands) -> Result<()> {
        let (one, zero) = (1.0_f32, 0.0_f32);
        let device = |address: u64| ptr::with_exposed_provenance_mut::<c_void>(address as usize);
        // SAFETY: all descriptions are alive, alpha and beta are f32 as the operation's scale
        // type says and read before the call returns, and the addresses name matrices of the
        // layouts' sizes (`Product`'s callers).
        unsafe {
            result::matmul(
                self.handle.0,
                plan.operation.0,
                (&raw const one).cast(),
                (&raw const zero).cast(),
                device(operands.right),
                plan.a.0,
                device(operands.left),
                plan.b.0,
                device(operands.out),
                plan.d.0,
                device(operands.out),
                plan.d.0,
                &raw const plan.algorithm,
                device(self.workspace.address()),
                usize::try_from(WORKSPACE).expect("32 MiB"),
                self.gpu.stream.cu_stream().cast(),
            )
        }
        .map_err(lt("cuBLASLt does not multiply"))
    }
}

impl Plan {
    fn new(product: &Product) -> Result<Self> {
        let call = product.call();
        Ok(Self {
            operation: Operation::new(call.transpose_a)?,
            a: Layout::new(&call.a, product.batch)?,
            b: Layout::new(&call.b, product.batch)?,
            d: Layout::new(&call.d, product.batch)?,
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        })
    }
}
