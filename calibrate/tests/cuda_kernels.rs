//! The CUDA kernels, run on the CPU: `cuda_kernels/device.h` stands for the device, and each
//! kernel's result is compared with a plain computation. Needs a C++ compiler, no GPU.

use std::path::Path;
use std::process::Command;

#[test]
fn every_kernel_computes_what_it_should() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda_kernels/kernels.cpp");
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("kernels");
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let compiled = Command::new(compiler)
        .args(["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"])
        .args(["-fsanitize=undefined", "-fno-sanitize-recover=all", "-o"])
        .arg(&program)
        .arg(source)
        .output()
        .expect("a C++ compiler, as `c++` or in CXX");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(&program).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(said.trim(), "0 deviations");
}
