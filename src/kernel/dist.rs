//! Distributions of durations, and the samplers the workload generators draw from.
//!
//! Samplers use `libm` and inverse CDFs where one exists, so that a seed gives the same
//! bytes on every platform. (`rand_distr` takes `exp` and `ln` from the platform
//! whenever some other dependency enables `num-traits/std`.)

use std::borrow::Cow;

use rand::Rng;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use super::time::SimDuration;
use super::units::Bytes;

/// A distribution of a duration.
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same. Written as a plain duration: `40s`.
    Constant(SimDuration),
    /// Lognormal, given by its median and 95th percentile: `{ median: 210s, p95: 400s }`.
    LogNormal {
        /// Median.
        median: SimDuration,
        /// 95th percentile, at least the median.
        p95: SimDuration,
    },
    /// Exponential, given by its mean: `{ exponential: 80ms }`.
    Exponential {
        /// Mean.
        mean: SimDuration,
    },
    /// Measured values, each as likely as any other: `{ samples: [2.7s, 4.4s, 6.3s] }`.
    Samples(Vec<SimDuration>),
    /// Bytes moved at a bandwidth: `{ bytes: 16Gi, bytesPerSecond: 2Gi }`.
    Transfer {
        /// Bytes to move.
        bytes: Bytes,
        /// Bandwidth, bytes/s.
        bytes_per_second: Bytes,
    },
}

/// The 95 % quantile of the standard normal distribution.
const Z95: f64 = 1.644_853_626_951_472_2;

impl Distribution {
    /// Draws a duration. Every draw takes exactly one value from the stream.
    pub fn sample(&self, rng: &mut impl Rng) -> SimDuration {
        self.quantile(uniform(rng))
    }

    /// The quantile at `p` in (0, 1).
    pub fn quantile(&self, p: f64) -> SimDuration {
        match self {
            Self::Constant(value) => *value,
            Self::LogNormal { median, p95 } => {
                if median.is_zero() || p95 <= median {
                    return *median;
                }
                let (m, top) = (median.as_secs_f64(), p95.as_secs_f64());
                let sigma = libm::log(top / m) / Z95;
                let value = m * libm::exp(sigma * normal_quantile(p));
                SimDuration::from_secs_f64(value).unwrap_or(SimDuration::MAX)
            }
            Self::Exponential { mean } => {
                let value = -libm::log1p(-p) * mean.as_secs_f64();
                SimDuration::from_secs_f64(value).unwrap_or(SimDuration::MAX)
            }
            Self::Samples(values) => {
                let index = ((p * values.len() as f64) as usize).min(values.len().saturating_sub(1));
                values.get(index).copied().unwrap_or_default()
            }
            Self::Transfer { bytes, bytes_per_second } => {
                let nanos = u128::from(bytes.0) * 1_000_000_000;
                let nanos = nanos.div_ceil(u128::from(bytes_per_second.0.max(1)));
                SimDuration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        }
    }

    /// The median, for display.
    pub fn median(&self) -> SimDuration {
        self.quantile(0.5)
    }

    /// The mean, in s; for the approximate cost equation.
    pub fn mean_secs(&self) -> f64 {
        match self {
            Self::LogNormal { median, p95 } if !median.is_zero() && p95 > median => {
                let sigma = libm::log(p95.as_secs_f64() / median.as_secs_f64()) / Z95;
                median.as_secs_f64() * libm::exp(sigma * sigma / 2.0)
            }
            Self::Samples(values) => {
                values.iter().map(|v| v.as_secs_f64()).sum::<f64>() / values.len().max(1) as f64
            }
            Self::Exponential { mean } => mean.as_secs_f64(),
            _ => self.median().as_secs_f64(),
        }
    }
}

/// A uniform draw in the open interval (0, 1), with 53 random bits.
pub fn uniform(rng: &mut impl Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// An exponential draw with mean 1.
pub fn exponential(rng: &mut impl Rng) -> f64 {
    -libm::log(uniform(rng))
}

/// A standard normal draw.
pub fn normal(rng: &mut impl Rng) -> f64 {
    normal_quantile(uniform(rng))
}

/// A Gamma draw with the given shape and mean 1 (Marsaglia and Tsang, 2000; shapes below 1 by their boost).
pub fn gamma_unit_mean(shape: f64, rng: &mut impl Rng) -> f64 {
    let boosted = if shape < 1.0 { shape + 1.0 } else { shape };
    let d = boosted - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    let value = loop {
        let x = normal(rng);
        let v = 1.0 + c * x;
        if v <= 0.0 {
            continue;
        }
        let v = v * v * v;
        if libm::log(uniform(rng)) < 0.5 * x * x + d - d * v + d * libm::log(v) {
            break d * v;
        }
    };
    let value = if shape < 1.0 { value * libm::pow(uniform(rng), 1.0 / shape) } else { value };
    value / shape
}

/// A Weibull draw with the given shape and mean 1.
pub fn weibull_unit_mean(shape: f64, rng: &mut impl Rng) -> f64 {
    libm::pow(exponential(rng), 1.0 / shape) / libm::tgamma(1.0 + 1.0 / shape)
}

/// The quantile of the standard normal distribution (Wichura's algorithm AS 241, `PPND16`; relative error about 1e-16).
pub fn normal_quantile(p: f64) -> f64 {
    fn ratio(x: f64, numerator: [f64; 8], denominator: [f64; 8]) -> f64 {
        let horner = |c: [f64; 8]| c.iter().rev().fold(0.0, |sum, k| sum * x + k);
        horner(numerator) / horner(denominator)
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let central = ratio(
            0.180_625 - q * q,
            [
                3.387_132_872_796_366_6,
                133.141_667_891_784_38,
                1_971.590_950_306_551_4,
                13_731.693_765_509_46,
                45_921.953_931_549_87,
                67_265.770_927_008_7,
                33_430.575_583_588_13,
                2_509.080_928_730_122_7,
            ],
            [
                1.0,
                42.313_330_701_600_91,
                687.187_007_492_057_9,
                5_394.196_021_424_751,
                21_213.794_301_586_597,
                39_307.895_800_092_71,
                28_729.085_735_721_943,
                5_226.495_278_852_855,
            ],
        );
        return q * central;
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = libm::sqrt(-libm::log(tail));
    let value = if r <= 5.0 {
        ratio(
            r - 1.6,
            [
                1.423_437_110_749_683_5,
                4.630_337_846_156_546,
                5.769_497_221_460_691,
                3.647_848_324_763_204_5,
                1.270_458_252_452_368_4,
                0.241_780_725_177_450_6,
                0.022_723_844_989_269_184,
                7.745_450_142_783_414e-4,
            ],
            [
                1.0,
                2.053_191_626_637_759,
                1.676_384_830_183_803_8,
                0.689_767_334_985_1,
                0.148_103_976_427_480_08,
                0.015_198_666_563_616_457,
                5.475_938_084_995_345e-4,
                1.050_750_071_644_416_9e-9,
            ],
        )
    } else {
        ratio(
            r - 5.0,
            [
                6.657_904_643_501_103,
                5.463_784_911_164_114,
                1.784_826_539_917_291_3,
                0.296_560_571_828_504_87,
                0.026_532_189_526_576_124,
                0.001_242_660_947_388_078_4,
                2.711_555_568_743_487_6e-5,
                2.010_334_399_292_288_1e-7,
            ],
            [
                1.0,
                0.599_832_206_555_888,
                0.136_929_880_922_735_8,
                0.014_875_361_290_850_615,
                7.868_691_311_456_133e-4,
                1.846_318_317_510_054_8e-5,
                1.421_511_758_316_446e-7,
                2.044_263_103_389_939_8e-15,
            ],
        )
    };
    if q < 0.0 { -value } else { value }
}

/// How a distribution is written when it is more than a plain duration.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    median: Option<SimDuration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p95: Option<SimDuration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exponential: Option<SimDuration>,
    /// Measured values, each as likely as any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    samples: Option<Vec<SimDuration>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<Bytes>,
}

impl TryFrom<Written> for Distribution {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let Written { median, p95, exponential, samples, bytes, bytes_per_second } = written;
        match (median, p95, exponential, samples, bytes, bytes_per_second) {
            (Some(median), Some(p95), None, None, None, None) => {
                if p95 < median {
                    return Err("p95 is below the median");
                }
                if median.is_zero() && !p95.is_zero() {
                    return Err("a lognormal median cannot be 0s");
                }
                Ok(Self::LogNormal { median, p95 })
            }
            (None, None, Some(mean), None, None, None) => Ok(Self::Exponential { mean }),
            (None, None, None, Some(samples), None, None) => {
                if samples.is_empty() {
                    return Err("`samples` is empty");
                }
                Ok(Self::Samples(samples))
            }
            (None, None, None, None, Some(bytes), Some(bytes_per_second)) => {
                if bytes_per_second.0 == 0 {
                    return Err("`bytesPerSecond` is 0");
                }
                Ok(Self::Transfer { bytes, bytes_per_second })
            }
            _ => Err(
                "a distribution is a duration (40s), { median, p95 }, { exponential: mean }, { samples: [..] } or { bytes, bytesPerSecond }",
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Distribution;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "a duration such as 40s, or { median, p95 }, { exponential }, { samples } or { bytes, bytesPerSecond }",
                )
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Distribution, E> {
                text.parse().map(Distribution::Constant).map_err(E::custom)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Distribution, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                Distribution::try_from(written).map_err(serde::de::Error::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Serialize for Distribution {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut written = Written {
            median: None,
            p95: None,
            exponential: None,
            samples: None,
            bytes: None,
            bytes_per_second: None,
        };
        match self {
            Self::Constant(value) => return value.serialize(serializer),
            Self::LogNormal { median, p95 } => (written.median, written.p95) = (Some(*median), Some(*p95)),
            Self::Exponential { mean } => written.exponential = Some(*mean),
            Self::Samples(samples) => written.samples = Some(samples.clone()),
            Self::Transfer { bytes, bytes_per_second } => {
                (written.bytes, written.bytes_per_second) = (Some(*bytes), Some(*bytes_per_second));
            }
        }
        written.serialize(serializer)
    }
}

impl JsonSchema for Distribution {
    fn schema_name() -> Cow<'static, str> {
        "Distribution".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let duration = generator.subschema_for::<SimDuration>();
        let written = generator.subschema_for::<Written>();
        schemars::json_schema!({
            "description": "A duration, or a distribution of one.",
            "anyOf": [duration, written]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::{Purpose, Streams};
    use statrs::distribution::{ContinuousCDF, Normal};

    #[test]
    fn normal_quantile_agrees_with_an_independent_implementation() {
        let reference = Normal::new(0.0, 1.0).unwrap();
        for p in [1e-12, 1e-6, 0.01, 0.05, 0.3, 0.5, 0.7, 0.95, 0.99, 1.0 - 1e-9] {
            let (ours, theirs) = (normal_quantile(p), reference.inverse_cdf(p));
            assert!((ours - theirs).abs() < 1e-8 * (1.0 + theirs.abs()), "{p}: {ours} {theirs}");
        }
    }

    #[test]
    fn unit_mean_samplers_have_the_mean_and_cv_they_promise() {
        let check = |name: &str, cv: f64, draw: &mut dyn FnMut() -> f64| {
            let n = 200_000;
            let values: Vec<f64> = (0..n).map(|_| draw()).collect();
            let mean = values.iter().sum::<f64>() / n as f64;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
            assert!((mean - 1.0).abs() < 0.02, "{name}: mean {mean}");
            assert!((variance.sqrt() - cv).abs() < 0.03 * cv, "{name}: cv {}", variance.sqrt());
        };
        let mut rng = Streams::new(1, 0).stream(Purpose::Arrivals, 0);
        check("exponential", 1.0, &mut || exponential(&mut rng));
        for shape in [0.25, 1.0, 4.0_f64] {
            check("gamma", 1.0 / shape.sqrt(), &mut || gamma_unit_mean(shape, &mut rng));
        }
        let weibull_cv = |k: f64| {
            let g = |x: f64| libm::tgamma(1.0 + x / k);
            (g(2.0) / (g(1.0) * g(1.0)) - 1.0).sqrt()
        };
        for shape in [0.8, 2.0] {
            check("weibull", weibull_cv(shape), &mut || weibull_unit_mean(shape, &mut rng));
        }
    }

    #[test]
    fn a_lognormal_hits_its_median_and_p95() {
        let d =
            Distribution::LogNormal { median: SimDuration::from_secs(210), p95: SimDuration::from_secs(400) };
        assert_eq!(d.median(), SimDuration::from_secs(210));
        assert!((d.quantile(0.95).as_secs_f64() - 400.0).abs() < 1e-6);
    }
}
