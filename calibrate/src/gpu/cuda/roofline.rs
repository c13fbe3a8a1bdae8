//! What a GPU can do at best: memory bandwidth and dense bf16 products, by which measured times
//! are judged.

use super::super::backend::Device;

/// A GPU's published figures.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Published {
    /// What the driver's name of the device holds; the first match counts.
    name: &'static str,
    /// TB/s.
    bandwidth: f64,
    /// TFLOP/s of dense bf16 products on tensor cores.
    flops: f64,
    /// Whose figures.
    source: &'static str,
}

const fn gpu(name: &'static str, bandwidth: f64, flops: f64, source: &'static str) -> Published {
    Published { name, bandwidth, flops, source }
}

/// Data sheets give bf16 with sparsity in newer ones; here is the dense half. Longer names come
/// before the names they begin with.
const PUBLISHED: [Published; 19] = [
    gpu("B200", 8.0, 2250.0, "NVIDIA Blackwell data sheet, HGX B200, an eighth"),
    gpu("GH200 144G", 4.9, 989.0, "NVIDIA GH200 data sheet, HBM3e"),
    gpu("GH200", 4.0, 989.0, "NVIDIA GH200 data sheet, HBM3"),
    gpu("H200 NVL", 4.8, 835.5, "NVIDIA H200 data sheet"),
    gpu("H200", 4.8, 989.0, "NVIDIA H200 data sheet"),
    gpu("H100 NVL", 3.9, 835.5, "NVIDIA H100 data sheet"),
    gpu("H100 PCIe", 2.0, 756.0, "NVIDIA H100 data sheet, PCIe"),
    gpu("H100", 3.35, 989.0, "NVIDIA H100 data sheet, SXM"),
    gpu("A100-SXM4-80GB", 2.039, 312.0, "NVIDIA A100 data sheet"),
    gpu("A100 80GB PCIe", 1.935, 312.0, "NVIDIA A100 data sheet"),
    gpu("A100", 1.555, 312.0, "NVIDIA A100 data sheet, 40 GB"),
    gpu("A30", 0.933, 165.0, "NVIDIA A30 data sheet"),
    gpu("A40", 0.696, 149.7, "NVIDIA A40 data sheet"),
    gpu("A10G", 0.6, 70.0, "NVIDIA A10G data sheet"),
    gpu("A10", 0.6, 125.0, "NVIDIA A10 data sheet"),
    gpu("L40S", 0.864, 362.05, "NVIDIA L40S data sheet"),
    gpu("L40", 0.864, 181.05, "NVIDIA L40 data sheet"),
    gpu("L4", 0.3, 121.0, "NVIDIA L4 data sheet"),
    gpu("RTX 4090", 1.008, 165.2, "NVIDIA Ada architecture white paper"),
];

/// What the driver tells of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Attributes {
    /// Compute capability.
    pub(super) capability: (i32, i32),
    /// Streaming multiprocessors.
    pub(super) multiprocessors: i32,
    /// Highest SM clock, kHz.
    pub(super) clock_khz: i32,
    /// Highest memory clock, kHz.
    pub(super) memory_clock_khz: i32,
    /// Width of the memory bus, bits.
    pub(super) bus_bits: i32,
}

/// Writes bandwidth, FLOP/s and their source into `device`.
pub(super) fn describe(device: &mut Device, attributes: &Attributes) {
    if let Some(found) = find(&device.name) {
        device.bandwidth = found.bandwidth * 1e12;
        device.flops = found.flops * 1e12;
        device.roofline_source = format!("published: {}", found.source);
        return;
    }
    // Memory of GPUs sends twice a clock.
    device.bandwidth =
        2.0 * 1e3 * f64::from(attributes.memory_clock_khz) * f64::from(attributes.bus_bits) / 8.0;
    let each_clock = dense_bf16_each_clock(attributes.capability);
    device.flops = 1e3 * f64::from(attributes.clock_khz) * f64::from(attributes.multiprocessors) * each_clock;
    "computed: memory clock x bus width x 2; SMs x clock x products a clock of this architecture"
        .clone_into(&mut device.roofline_source);
}

/// The name is a whole word, so that `A10` is not `A100`.
fn find(name: &str) -> Option<&'static Published> {
    PUBLISHED.iter().find(|known| {
        name.match_indices(known.name).any(|(start, found)| {
            let before = name[..start].chars().next_back();
            let after = name[start + found.len()..].chars().next();
            [before, after].iter().flatten().all(|c| !c.is_ascii_alphanumeric())
        })
    })
}

/// FLOP of dense bf16 products that an SM does in a clock: the published peak of a data centre
/// GPU of each architecture (A100, A10, L4, H100, B200), divided by its SMs and its boost clock.
const fn dense_bf16_each_clock(capability: (i32, i32)) -> f64 {
    match capability {
        (8, 0) => 2048.0,
        (9, _) => 4096.0,
        (10, _) => 8192.0,
        _ => 1024.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Device {
        Device {
            name: name.to_owned(),
            memory: 0,
            driver: None,
            bandwidth: 0.0,
            flops: 0.0,
            roofline_source: String::new(),
        }
    }

    const H200: Attributes = Attributes {
        capability: (9, 0),
        multiprocessors: 132,
        clock_khz: 1_830_000,
        memory_clock_khz: 3_201_000,
        bus_bits: 6144,
    };

    #[test]
    fn known_devices_have_their_published_figures() {
        let check = |name: &str, bandwidth: f64, flops: f64| {
            let mut found = device(name);
            describe(&mut found, &H200);
            assert!((found.bandwidth / 1e12 - bandwidth).abs() < 1e-9, "{found:?}");
            assert!((found.flops / 1e12 - flops).abs() < 1e-9, "{found:?}");
            assert!(found.roofline_source.starts_with("published: NVIDIA"), "{found:?}");
        };
        check("NVIDIA H200", 4.8, 989.0);
        check("NVIDIA H200 NVL", 4.8, 835.5);
        check("NVIDIA H100 80GB HBM3", 3.35, 989.0);
        check("NVIDIA H100 PCIe", 2.0, 756.0);
        check("NVIDIA A100-SXM4-80GB", 2.039, 312.0);
        check("NVIDIA A100-SXM4-40GB", 1.555, 312.0);
        check("NVIDIA A100-PCIE-40GB", 1.555, 312.0);
        check("NVIDIA A100 80GB PCIe", 1.935, 312.0);
        check("NVIDIA A10G", 0.6, 70.0);
        check("NVIDIA A10", 0.6, 125.0);
        check("NVIDIA L4", 0.3, 121.0);
        check("NVIDIA L40S", 0.864, 362.05);
    }

    #[test]
    fn an_unknown_device_is_computed_and_says_so() {
        let mut found = device("NVIDIA H2000");
        describe(&mut found, &H200);
        // The formula gives an H200 its published 4.8 TB/s and 989 TFLOP/s within 3 %.
        assert!((found.bandwidth / 4.8e12 - 1.0).abs() < 0.03, "{found:?}");
        assert!((found.flops / 989e12 - 1.0).abs() < 0.03, "{found:?}");
        assert!(found.roofline_source.starts_with("computed: "), "{found:?}");
    }
}
