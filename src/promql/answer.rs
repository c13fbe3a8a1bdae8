//! What a query answers, and what KEDA and prometheus-adapter make of it.

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

/// Why KEDA's prometheus scaler fails on an answer (pkg/scalers/prometheus_scaler.go
/// `ExecutePromQuery`, v2.18).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KedaError {
    /// Nothing, with `ignoreNullValues: false`.
    #[error("prometheus metrics 'prometheus' target may be lost, the result is empty")]
    Empty,
    /// Several series. The query must aggregate.
    #[error("prometheus query {query} returned multiple elements")]
    Several {
        /// The query's text.
        query: String,
    },
    /// NaN or an infinity, with `ignoreNullValues: false`.
    #[error("prometheus query returns {}", go_float(*.0))]
    NotFinite(f64),
    /// A scalar: its JSON is a pair and no list of series. `vector(..)` makes a vector of it.
    #[error("json: cannot unmarshal number into Go struct field .data.result")]
    Scalar,
}

/// Go's `%f` of what is not finite.
fn go_float(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

impl Answer {
    /// What KEDA's prometheus scaler reads. `query` is its text, `ignore_null_values` the trigger's field
    /// (default `true`): no series, NaN and infinities count as 0.
    ///
    /// KEDA asks at the whole second: evaluate at [`Settings::whole_second`](super::Settings::whole_second).
    pub fn keda(&self, query: &str, ignore_null_values: bool) -> Result<f64, KedaError> {
        let samples = match self {
            Self::Scalar(_) => return Err(KedaError::Scalar),
            Self::Vector(samples) => samples,
        };
        let value = match &samples[..] {
            [] if ignore_null_values => return Ok(0.0),
            [] => return Err(KedaError::Empty),
            [only] => only.value,
            _ => return Err(KedaError::Several { query: query.to_owned() }),
        };
        match value.is_finite() {
            true => Ok(value),
            false if ignore_null_values => Ok(0.0),
            false => Err(KedaError::NotFinite(value)),
        }
    }

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
    fn keda_reads_one_number() {
        let check = |answer: &Answer, ignoring: Result<f64, &str>, strict: Result<f64, &str>| {
            let read = |ignore| answer.keda("up", ignore).map_err(|error| error.to_string());
            assert_eq!(read(true), ignoring.map_err(str::to_owned), "{answer:?}");
            assert_eq!(read(false), strict.map_err(str::to_owned), "{answer:?}");
        };
        let several = "prometheus query up returned multiple elements";
        let pair = "json: cannot unmarshal number into Go struct field .data.result";
        check(&vector(&[2.5]), Ok(2.5), Ok(2.5));
        check(&vector(&[-1.0]), Ok(-1.0), Ok(-1.0));
        let empty = "prometheus metrics 'prometheus' target may be lost, the result is empty";
        check(&vector(&[]), Ok(0.0), Err(empty));
        check(&vector(&[1.0, 2.0]), Err(several), Err(several));
        check(&vector(&[f64::NAN]), Ok(0.0), Err("prometheus query returns NaN"));
        check(&vector(&[f64::INFINITY]), Ok(0.0), Err("prometheus query returns +Inf"));
        check(&Answer::Scalar(1.0), Err(pair), Err(pair));
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
