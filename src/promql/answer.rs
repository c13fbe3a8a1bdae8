//! What a query answers, and what prometheus-adapter makes of it; what KEDA does is `policy::keda::prometheus`'s.

/// The answer to a query at an instant.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One number without labels.
    Scalar(f64),
    /// Series, perhaps none.
    Vector(Vec<Sample>),
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// (name, value) of each label, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl Answer {
    /// What prometheus-adapter serves as an external metric: a value for each series, in milli-units
    /// (pkg/external-provider/metric_converter.go, v0.12). The HPA adds them up.
    ///
    /// What is no finite number there becomes what Go's conversion makes of it on amd64, the least integer.
    pub fn external_milli(&self) -> Vec<i64> {
        match self {
            Self::Scalar(value) => vec![milli(*value)],
            Self::Vector(samples) => samples.iter().map(|sample| milli(sample.value)).collect(),
        }
    }

    /// What prometheus-adapter serves as a custom metric of objects: the value of each series by the label that
    /// names its object (`pod`), in milli-units; NaN is 0 there (pkg/custom-provider/provider.go `metricFor`).
    /// Of several series of one object the last counts; series without the label count for none. A scalar has
    /// no object.
    pub fn by_object(&self, label: &str) -> Vec<(&str, i64)> {
        let Self::Vector(samples) = self else { return Vec::new() };
        let mut values: Vec<(&str, i64)> = Vec::new();
        for sample in samples {
            let Some(object) = sample.label(label) else { continue };
            let value = if sample.value.is_nan() { 0 } else { milli(sample.value) };
            match values.iter_mut().find(|(known, _)| *known == object) {
                Some(known) => known.1 = value,
                None => values.push((object, value)),
            }
        }
        values
    }
}

/// Go's `int64(value * 1000.0)` on amd64: towards zero; what does not fit is the least integer.
fn milli(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let scaled = value * 1000.0;
    if (-LIMIT..LIMIT).contains(&scaled) { scaled as i64 } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f64]) -> Answer {
        let sample = |(index, value): (usize, &f64)| Sample {
            labels: vec![("pod".to_owned(), format!("p{index}"))],
            value: *value,
        };
        Answer::Vector(values.iter().enumerate().map(sample).collect())
    }

    #[test]
    fn the_adapter_reads_every_series() {
        assert_eq!(vector(&[0.0019, 2.0]).external_milli(), [1, 2000]);
        assert_eq!(vector(&[f64::NAN]).external_milli(), [i64::MIN]);
        assert_eq!(Answer::Scalar(-1.5).external_milli(), [-1500]);
        assert!(vector(&[]).external_milli().is_empty());
        let mut answer = vector(&[1.0, f64::NAN]);
        assert_eq!(answer.by_object("pod"), [("p0", 1000), ("p1", 0)]);
        assert!(answer.by_object("node").is_empty());
        let Answer::Vector(samples) = &mut answer else { unreachable!() };
        samples.push(Sample { labels: samples[0].labels.clone(), value: 7.0 });
        assert_eq!(answer.by_object("pod"), [("p0", 7000), ("p1", 0)]);
    }
}
