//! The functions and aggregations there are, by their upstream names, and those that are refused.

macro_rules! named {
    ($(#[$doc:meta])* $kind:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $kind { $($variant),* }

        impl $kind {
            /// Upstream's names.
            pub(super) const NAMES: &'static [&'static str] = &[$($name),*];

            /// The one of that name.
            pub(super) fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

named! {
    /// Functions over the samples of a window.
    RangeFunction {
        Rate = "rate",
        Increase = "increase",
        Delta = "delta",
        Irate = "irate",
        Idelta = "idelta",
        Deriv = "deriv",
        PredictLinear = "predict_linear",
        Resets = "resets",
        Changes = "changes",
        AvgOverTime = "avg_over_time",
        MinOverTime = "min_over_time",
        MaxOverTime = "max_over_time",
        SumOverTime = "sum_over_time",
        CountOverTime = "count_over_time",
        LastOverTime = "last_over_time",
        PresentOverTime = "present_over_time",
        StddevOverTime = "stddev_over_time",
        StdvarOverTime = "stdvar_over_time",
        QuantileOverTime = "quantile_over_time",
    }
}

impl RangeFunction {
    /// Samples that a window must hold for an answer (promql/functions.go).
    pub(super) const fn samples_needed(self) -> u32 {
        match self {
            Self::Rate
            | Self::Increase
            | Self::Delta
            | Self::Irate
            | Self::Idelta
            | Self::Deriv
            | Self::PredictLinear => 2,
            _ => 1,
        }
    }
}

named! {
    /// Functions of one value.
    ValueFunction {
        Abs = "abs",
        Ceil = "ceil",
        Floor = "floor",
        Sqrt = "sqrt",
        Exp = "exp",
        Ln = "ln",
        Log2 = "log2",
        Log10 = "log10",
        Sgn = "sgn",
    }
}

named! {
    /// Parts of a time of day or week, UTC.
    Calendar {
        Minute = "minute",
        Hour = "hour",
        DayOfWeek = "day_of_week",
    }
}

named! {
    /// Aggregations.
    Aggregation {
        Sum = "sum",
        Avg = "avg",
        Min = "min",
        Max = "max",
        Count = "count",
        Group = "group",
        Stddev = "stddev",
        Stdvar = "stdvar",
        Quantile = "quantile",
        Topk = "topk",
        Bottomk = "bottomk",
    }
}

/// Functions with arguments of their own kinds.
pub(super) const SPECIAL: &[&str] = &[
    "absent",
    "absent_over_time",
    "clamp",
    "clamp_max",
    "clamp_min",
    "histogram_quantile",
    "label_join",
    "label_replace",
    "round",
    "scalar",
    "sort",
    "sort_desc",
    "time",
    "timestamp",
    "vector",
];

/// What Prometheus has and this evaluator refuses (promql/parser/functions.go, lex.go; v3), each with what is
/// closest to it in purpose, if anything is.
const REFUSED: &[(&str, &str)] = &[
    ("acos", ""),
    ("acosh", ""),
    ("asin", ""),
    ("asinh", ""),
    ("atan", ""),
    ("atanh", ""),
    ("cos", ""),
    ("cosh", ""),
    ("count_values", "count"),
    ("day_of_month", "day_of_week"),
    ("day_of_year", "day_of_week"),
    ("days_in_month", ""),
    ("deg", ""),
    ("double_exponential_smoothing", "predict_linear"),
    ("first_over_time", "last_over_time"),
    ("histogram_avg", "rate"),
    ("histogram_count", "rate"),
    ("histogram_fraction", "histogram_quantile"),
    ("histogram_quantiles", "histogram_quantile"),
    ("histogram_stddev", ""),
    ("histogram_stdvar", ""),
    ("histogram_sum", "rate"),
    ("holt_winters", "predict_linear"),
    ("info", "group"),
    ("limit_ratio", "topk"),
    ("limitk", "topk"),
    ("mad_over_time", "stddev_over_time"),
    ("month", ""),
    ("pi", ""),
    ("rad", ""),
    ("sin", ""),
    ("sinh", ""),
    ("sort_by_label", "sort"),
    ("sort_by_label_desc", "sort_desc"),
    ("tan", ""),
    ("tanh", ""),
    ("ts_of_first_over_time", "timestamp"),
    ("ts_of_last_over_time", "timestamp"),
    ("ts_of_max_over_time", "max_over_time"),
    ("ts_of_min_over_time", "min_over_time"),
    ("year", ""),
];

/// Every function and aggregation that can be evaluated.
pub(super) fn supported() -> impl Iterator<Item = &'static str> {
    let lists = [RangeFunction::NAMES, ValueFunction::NAMES, Calendar::NAMES, Aggregation::NAMES, SPECIAL];
    lists.into_iter().flatten().copied()
}

/// Why a function cannot be called and what to do; `None` if it can.
pub(super) fn refusal(name: &str) -> Option<(String, String)> {
    let lower = name.to_lowercase();
    // Aggregations are keywords and may be written in any case, functions may not.
    let aggregation = Aggregation::from_name(&lower).is_some();
    if aggregation || supported().any(|supported| supported == name) {
        return None;
    }
    let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
    let (message, near) = match refused {
        Some((_, near)) => {
            let message = format!("`{name}` is a function of Prometheus that is not simulated");
            (message, Some(*near).filter(|near| !near.is_empty()))
        }
        None => (format!("Prometheus has no function `{name}`"), crate::yaml::suggest(name, supported())),
    };
    let help = match near {
        Some(near) => format!("the closest that is simulated is `{near}`"),
        None => {
            "the functions that are simulated are those triggers and adapter rules use: `rate`, `increase`, \
                 `*_over_time`, `histogram_quantile`, `sum`, `avg`, `max`, `clamp_*`, .."
                .to_owned()
        }
    };
    Some((message, help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_simulated_is_not_refused() {
        let mut names: Vec<&str> = supported().chain(REFUSED.iter().map(|(name, _)| *name)).collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "a function stands twice");
        assert!(supported().all(|name| refusal(name).is_none()));
        for (name, near) in REFUSED {
            assert!(refusal(name).is_some() && (near.is_empty() || refusal(near).is_none()), "{name}");
        }
    }

    #[test]
    fn refusals_name_the_closest() {
        let (message, help) = refusal("sum_ovr_time").unwrap();
        assert_eq!(message, "Prometheus has no function `sum_ovr_time`");
        assert_eq!(help, "the closest that is simulated is `sum_over_time`");
        let (message, help) = refusal("limitk").unwrap();
        assert_eq!(message, "`limitk` is a function of Prometheus that is not simulated");
        assert_eq!(help, "the closest that is simulated is `topk`");
        assert_eq!(refusal("SUM"), None);
        assert!(refusal("RATE").is_some());
    }
}
