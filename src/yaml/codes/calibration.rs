//! Faults of a calibration, E07xx, and its warnings, W07xx.

use super::{Code, code};

/// All faults, in order.
pub(super) const FAULTS: &[Code] = &[
    code(
        "E0701",
        "no usable GPU",
        "`thawline-calibrate gpu` loads the NVIDIA driver and the CUDA libraries when it runs. The message names \
         what is missing: the driver (`libcuda.so.1`), a device, a driver of CUDA 12.8 or newer, or one of NVRTC \
         and cuBLASLt. Libraries of a pip install are found through LD_LIBRARY_PATH. Without a GPU, \
         `--backend cpu` runs the same plan on small shapes, and `server`, `pull` and `import` need none.",
    ),
    code(
        "E0702",
        "the server did not become ready",
        "Nothing answers at the address, or the launched server ended or ran out of time before it was healthy. \
         Its last log lines are shown. What was measured before is in the raw file.",
    ),
    code(
        "E0703",
        "requests failed",
        "The server answered with an HTTP error, or a stream stopped before its end. Each failed request is kept \
         in the raw file with its reason; too many of them, and no profile is written.",
    ),
    code(
        "E0704",
        "the registry refuses",
        "The registry cannot be reached, has no such image, or refuses to hand it out; or a layer's digest is not \
         the one of the manifest. The message holds its answer.",
    ),
    code(
        "E0705",
        "unknown format",
        "The file is none of the logs, events or benchmark results that `thawline-calibrate import` reads. \
         `thawline-calibrate import --list` names them.",
    ),
    code(
        "E0706",
        "a raw file that cannot be used",
        "A raw file is JSON, one record a line, with a header first. This one is broken at the line named, or \
         belongs to another measurement. A file that a kill cut off is no fault: the same command goes on with it.",
    ),
    code(
        "E0707",
        "too little to fit",
        "The raw samples do not determine what was asked for. The message says which points are missing and which \
         command measures them.",
    ),
    code(
        "E0708",
        "a poor fit",
        "The fitted step times miss the samples that were held out by more than 10 % on average, so no profile is \
         written. A noisy host, throttling or mixed settings are the usual reasons. `--allow-poor-fit` writes it \
         with its errors inside.",
    ),
    code(
        "E0709",
        "a probe failed",
        "A probe ran out of its time, its memory or its disk, or its process died. The others are in the raw file.",
    ),
    code(
        "E0710",
        "a model that cannot be measured",
        "`gpu` measures dense decoder-only transformers in bf16: the built-in shapes, and any `config.json` of such \
         a model. The message names each field that is missing, contradicts another, or asks for something else \
         (experts, quantized weights, windows of attention).",
    ),
];

/// All warnings, in order.
pub(super) const WARNINGS: &[Code] = &[code(
    "W0701",
    "a measurement to look at twice",
    "The sample was kept and marked: it scatters, lies below what the hardware can do or far above it, or the \
         device was throttled. The flag is in the raw file and in the profile's validation.",
)];
