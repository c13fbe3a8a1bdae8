//! Backtests of forecasts, side by side: a table, JSON, and what they say of the model that is chosen where nobody chooses.

use serde_json::{Value, json};

use super::format;
use crate::forecast::Score;
use crate::kernel::SimDuration;
use crate::profile::page::table;

/// A series with the scores of the models that were tried on it.
#[derive(Clone, Debug)]
pub struct Backtested {
    /// What the series is of, with its unit.
    pub name: String,
    /// From one value to the next.
    pub step: SimDuration,
    /// Values.
    pub values: usize,
    /// Of those, gaps.
    pub gaps: usize,
    /// Steps that were only learned from.
    pub warm_up: usize,
    /// The season; `None` where the models have none.
    pub season: Option<SimDuration>,
    /// How far ahead.
    pub horizons: Vec<SimDuration>,
    /// The models, in the order they were asked for.
    pub models: Vec<ModelScores>,
}

/// A model with its scores.
#[derive(Clone, Debug)]
pub struct ModelScores {
    /// Its name.
    pub label: String,
    /// It is the naive one that the others are held against.
    pub is_naive: bool,
    /// It is what speaks where nobody chose.
    pub is_standard: bool,
    /// By horizon.
    pub scores: Vec<Option<Score>>,
}

/// A figure with four significant digits.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 1000.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        v if v >= 1.0 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

impl Backtested {
    /// The naive model's error at a horizon.
    fn naive_mae(&self, horizon: usize) -> Option<f64> {
        let naive = self.models.iter().find(|model| model.is_naive)?;
        Some(naive.scores.get(horizon)?.as_ref()?.mae)
    }

    /// A score's error relative to the naive model's, as a change.
    fn against_naive(&self, horizon: usize, score: &Score) -> Option<f64> {
        self.naive_mae(horizon).filter(|mae| *mae > 0.0).map(|mae| score.mae / mae - 1.0)
    }

    fn head(&self) -> String {
        let season = self.season.map_or("no season".to_owned(), |season| format!("season {season}"));
        let gaps = match self.gaps {
            0 => String::new(),
            gaps => format!(", {} gaps", format::whole(gaps as u64)),
        };
        format!(
            "{}: {} steps of {}{gaps}; {season}, the first {} only learned from\n",
            self.name,
            format::whole(self.values as u64),
            self.step,
            format::whole(self.warm_up as u64)
        )
    }

    fn horizon_table(&self, horizon: usize, nominal: f64) -> String {
        let against =
            self.models.iter().find(|model| model.is_naive).map_or("", |model| model.label.as_str());
        let ahead = format!("{} ahead", self.horizons[horizon]);
        let coverage = format!("in {:.0}%", nominal * 100.0);
        let versus = if against.is_empty() { String::new() } else { format!("MAE vs {against}") };
        let header = [ahead.as_str(), "MAE", "MASE", "pinball", coverage.as_str(), versus.as_str()];
        let row = |model: &ModelScores| {
            let mut row = vec![model.label.clone()];
            match &model.scores[horizon] {
                Some(score) => row.extend([
                    figure(score.mae),
                    score.mase.map_or("–".to_owned(), |mase| format!("{mase:.3}")),
                    figure(score.pinball),
                    format!("{:.1}%", score.coverage * 100.0),
                    self.against_naive(horizon, score)
                        .map_or(String::new(), |change| format!("{:+.1}%", change * 100.0)),
                ]),
                None => row.extend(["nothing to score", "", "", "", ""].map(str::to_owned)),
            }
            row
        };
        table(&header, self.models.iter().map(row), &[1, 2, 3, 4, 5])
    }

    /// What the default is worth: better than naive, or not, said in words.
    fn verdict(&self) -> String {
        let Some(standard) = self.models.iter().find(|model| model.is_standard) else { return String::new() };
        let Some(naive) = self.models.iter().find(|model| model.is_naive) else { return String::new() };
        let mut parts = Vec::new();
        for (horizon, ahead) in self.horizons.iter().enumerate() {
            let Some(score) = &standard.scores[horizon] else { continue };
            let Some(change) = self.against_naive(horizon, score) else { continue };
            let word = if change > 0.0 { "WORSE" } else { "better" };
            parts.push(format!("{:.1}% {word} {ahead} ahead", change.abs() * 100.0));
        }
        if parts.is_empty() {
            return String::new();
        }
        format!(
            "{}, the default of `predictive`, against {}: {}\n",
            standard.label,
            naive.label,
            parts.join(", ")
        )
    }
}

/// All of them as text. `nominal` is the share that the outer quantiles promise to cover.
pub fn text(all: &[Backtested], nominal: f64) -> String {
    let of = |own: &Backtested| {
        let tables: Vec<String> =
            (0..own.horizons.len()).map(|horizon| own.horizon_table(horizon, nominal)).collect();
        format!("{}\n{}\n{}", own.head(), tables.join("\n"), own.verdict())
    };
    all.iter().map(of).collect::<Vec<_>>().join("\n")
}

/// All of them as JSON.
pub fn json(all: &[Backtested], quantiles: &[f64]) -> Value {
    let of = |own: &Backtested| {
        let rows = own.models.iter().flat_map(|model| {
            let scores = own.horizons.iter().zip(&model.scores);
            scores.map(|(horizon, score)| {
                json!({
                    "model": model.label,
                    "horizon": horizon,
                    "count": score.as_ref().map(|s| s.count),
                    "mae": score.as_ref().map(|s| s.mae),
                    "mase": score.as_ref().and_then(|s| s.mase),
                    "pinball": score.as_ref().map(|s| s.pinball),
                    "coverage": score.as_ref().map(|s| s.coverage),
                })
            })
        });
        json!({
            "series": own.name,
            "step": own.step,
            "values": own.values,
            "gaps": own.gaps,
            "warmUpSteps": own.warm_up,
            "season": own.season,
            "scores": rows.collect::<Vec<_>>(),
        })
    };
    json!({ "quantiles": quantiles, "series": all.iter().map(of).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(label: &str, mae: f64) -> ModelScores {
        let score = Score { count: 9, mae, mase: Some(mae / 4.0), pinball: mae / 3.0, coverage: 0.75 };
        ModelScores {
            label: label.to_owned(),
            is_naive: label == "seasonalNaive",
            is_standard: label == "mixture",
            scores: vec![Some(score), None],
        }
    }

    fn backtested(mae: f64) -> Backtested {
        Backtested {
            name: "requests/s".to_owned(),
            step: SimDuration::from_secs(60),
            values: 1500,
            gaps: 2,
            warm_up: 100,
            season: Some(SimDuration::from_secs(3600)),
            horizons: vec![SimDuration::from_secs(60), SimDuration::from_secs(600)],
            models: vec![model("seasonalNaive", 2.0), model("mixture", mae)],
        }
    }

    #[test]
    fn a_table_shows_each_model_beside_naive_and_the_verdict_in_words() {
        let found = text(&[backtested(1.5)], 0.8);
        let expected = "\
requests/s: 1,500 steps of 1m, 2 gaps; season 1h, the first 100 only learned from

1m ahead         MAE   MASE  pinball  in 80%  MAE vs seasonalNaive
seasonalNaive  2.000  0.500   0.6667   75.0%                 +0.0%
mixture        1.500  0.375   0.5000   75.0%                -25.0%

10m ahead                   MAE  MASE  pinball  in 80%  MAE vs seasonalNaive
seasonalNaive  nothing to score
mixture        nothing to score

mixture, the default of `predictive`, against seasonalNaive: 25.0% better 1m ahead
";
        assert_eq!(found.replace(" \n", "\n"), expected, "{found}");
        assert!(text(&[backtested(2.5)], 0.8).contains("25.0% WORSE 1m ahead"));
    }

    #[test]
    fn json_has_every_score() {
        let found = json(&[backtested(1.5)], &[0.1, 0.9]);
        assert_eq!(found["quantiles"], json!([0.1, 0.9]));
        let scores = &found["series"][0]["scores"];
        assert_eq!(scores[2]["mae"], json!(1.5));
        assert_eq!((&scores[3]["horizon"], &scores[3]["mae"]), (&json!("10m"), &Value::Null));
    }
}
