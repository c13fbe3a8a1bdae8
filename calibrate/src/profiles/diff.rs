//! What differs between two profiles, field by field.
//!
//! Names, descriptions, sources, dates and notes are not compared: two profiles are the same
//! if they simulate the same and their figures came about in the same way.

use std::collections::BTreeMap;

use serde_json::Value;
use thawline::kernel::{Bytes, Distribution, Price, Quantity, SimDuration};
use thawline::profile::show::distribution_text;
use thawline::profile::{Profile, Sourced};

/// One field of a profile.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    /// As people read it.
    text: String,
    /// Every number in it; one, unless it is a table.
    numbers: Vec<f64>,
    /// Its provenance, if it has one.
    provenance: Option<String>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Where: `memory.weights`, `startUp[weight load: download]`.
    pub field: String,
    /// The values, if the profile has the field.
    pub values: [Option<String>; 2],
    /// The second over the first, less 1; in a table the largest such change. None where
    /// there is nothing to divide.
    pub change: Option<f64>,
    /// How both figures came to be, where the field says so.
    pub provenance: [Option<String>; 2],
}

/// Every field in which two profiles differ, in the order of the file.
pub fn diff(a: &Profile, b: &Profile) -> Vec<Difference> {
    let (a, b) = (fields(a), fields(b));
    let of = |all: &[(String, Field)]| -> BTreeMap<String, Field> { all.iter().cloned().collect() };
    let (in_a, in_b) = (of(&a), of(&b));
    let only_in_b = b.iter().filter(|(path, _)| !in_a.contains_key(path));
    let paths = a.iter().chain(only_in_b).map(|(path, _)| path);
    paths.filter_map(|path| difference(path, in_a.get(path), in_b.get(path))).collect()
}

fn difference(path: &str, a: Option<&Field>, b: Option<&Field>) -> Option<Difference> {
    if a == b {
        return None;
    }
    let change = a.zip(b).and_then(|(a, b)| {
        let changes = a.numbers.iter().zip(&b.numbers).map(|(a, b)| b / a - 1.0);
        let same_shape = a.numbers.len() == b.numbers.len();
        let largest = changes.filter(|c| c.is_finite()).max_by(|x, y| x.abs().total_cmp(&y.abs()));
        largest.filter(|_| same_shape)
    });
    Some(Difference {
        field: path.to_owned(),
        values: [a, b].map(|field| field.map(|f| f.text.clone())),
        change,
        provenance: [a, b].map(|field| field.and_then(|f| f.provenance.clone())),
    })
}

fn fields(profile: &Profile) -> Vec<(String, Field)> {
    let mut found = Vec::new();
    let value = serde_json::to_value(profile).unwrap_or_default();
    for (key, value) in value.as_object().into_iter().flatten() {
        match key.as_str() {
            "schemaVersion" | "name" | "description" => {}
            // Lists without an order of their own are told apart by what their entries are.
            "startUp" => start_up(profile, &mut found),
            "validation" => {
                for entry in value.as_array().into_iter().flatten() {
                    let name = |key: &str| entry[key].as_str().unwrap_or_default();
                    let path = format!("validation[{}, {}]", name("quantity"), name("against"));
                    walk(&path, &entry["errors"], None, &mut found);
                }
            }
            _ => walk(key, value, None, &mut found),
        }
    }
    found
}

fn start_up(profile: &Profile, found: &mut Vec<(String, Field)>) {
    for stage in &profile.start_up {
        let label = stage.label.as_ref().map(|label| format!(": {label}")).unwrap_or_default();
        let mut path = format!("startUp[{}{label}]", stage.stage.label());
        // Two entries of the same name are taken in their order.
        if found.iter().any(|(known, _)| *known == path) {
            path += &format!(" #{}", found.len());
        }
        let field = |time: &Sourced<Distribution>| Field {
            text: distribution_text(&time.value),
            numbers: [0.5, 0.95].map(|p| time.value.quantile(p).as_secs_f64()).to_vec(),
            provenance: Some(time.provenance.label().to_owned()),
        };
        let cached = stage.cached.as_ref().map(|time| (format!("{path}, cached"), field(time)));
        found.push((path, field(&stage.time)));
        found.extend(cached);
    }
}

/// Adds every leaf below a value; tables of numbers are leaves.
fn walk(path: &str, value: &Value, provenance: Option<&str>, found: &mut Vec<(String, Field)>) {
    let leaf = |text: String, numbers: Vec<f64>| {
        (path.to_owned(), Field { text, numbers, provenance: provenance.map(str::to_owned) })
    };
    match value {
        Value::Object(map) => match (map.get("value"), map.get("provenance").and_then(Value::as_str)) {
            (Some(inner), Some(word)) => walk(path, inner, Some(word), found),
            _ => {
                for (key, inner) in map {
                    walk(&format!("{path}.{key}"), inner, provenance, found);
                }
            }
        },
        Value::Array(list) => match numbers(value) {
            Some(numbers) if numbers.len() <= 4 => found.push(leaf(plain(value), numbers)),
            Some(numbers) => {
                let shape = match list.first() {
                    Some(Value::Array(row)) => format!("{} x {} values", list.len(), row.len()),
                    _ => format!("{} values", list.len()),
                };
                // The text takes no part in telling tables apart if their shapes are the same.
                found.push(leaf(shape, numbers));
            }
            None => {
                for (i, inner) in list.iter().enumerate() {
                    walk(&format!("{path}[{i}]"), inner, provenance, found);
                }
            }
        },
        other => found.push(leaf(plain(other), number(other).into_iter().collect())),
    }
}

/// All numbers of a list or a list of lists; none if there is anything else in it.
fn numbers(value: &Value) -> Option<Vec<f64>> {
    match value {
        Value::Array(list) => {
            let parts: Option<Vec<Vec<f64>>> = list.iter().map(numbers).collect();
            parts.map(|parts| parts.concat())
        }
        other => number(other).map(|n| vec![n]),
    }
}

fn number(value: &Value) -> Option<f64> {
    let text = match value {
        Value::Number(number) => return number.as_f64(),
        Value::String(text) => text,
        _ => return None,
    };
    let time = text.parse::<SimDuration>().ok().map(SimDuration::as_secs_f64);
    let bytes = || text.parse::<Bytes>().ok().map(|b| b.0 as f64);
    let price = || text.parse::<Price>().ok().map(Price::as_f64);
    let quantity = || text.parse::<Quantity>().ok().map(Quantity::as_f64);
    time.or_else(bytes).or_else(price).or_else(quantity)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use thawline::kernel::Distribution;
    use thawline::profile::shipped::find;
    use thawline::profile::sourced::Provenance;

    use super::*;

    fn profile(name: &str) -> Profile {
        find(name).unwrap().profile()
    }

    #[test]
    fn each_difference_is_shown_with_both_values_and_its_size() {
        let a = profile("l40s-llama3.1-8b-vllm");
        let check = |change: &dyn Fn(&mut Profile), expected: &str| {
            let mut b = a.clone();
            change(&mut b);
            let show = |d: &Difference| {
                let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                let [va, vb] = d.values.each_ref().map(or_none);
                let [pa, pb] = d.provenance.each_ref().map(or_none);
                let change = d.change.map_or_else(|| "-".to_owned(), |c| format!("{:+.1}%", c * 100.0));
                format!("{}|{va}|{vb}|{change}|{pa}|{pb}\n", d.field)
            };
            let found: String = diff(&a, &b).iter().map(show).collect();
            assert_eq!(found, expected);
        };
        check(&|_| (), "");
        // What is said about figures is no figure.
        check(
            &|p| {
                (p.name, p.description) = ("other".to_owned(), "Other.".to_owned());
                p.start_up[1].time.note = None;
            },
            "",
        );
        check(&|p| p.model = "another".to_owned(), "model|Llama-3.1-8B BF16|another|-|-|-\n");
        check(
            &|p| {
                p.start_up[1].time.value = Distribution::Constant(SimDuration::from_secs(3));
                p.start_up[1].time.provenance = Provenance::Measured;
            },
            "startUp[container start]|2s|3s|+50.0%|assumed|measured\n",
        );
        check(&|p| drop(p.start_up.remove(3)), "startUp[weight load: download]|1m1s|-|-|published|-\n");
        check(
            &|p| p.memory.as_mut().unwrap().weights.value.0 *= 2,
            &format!(
                "memory.weights|{}|{}|+100.0%|derived|derived\n",
                a.memory.as_ref().unwrap().weights.value,
                Bytes(a.memory.as_ref().unwrap().weights.value.0 * 2)
            ),
        );
        check(
            &|p| p.step_time.as_mut().unwrap().decode.fit.as_mut().unwrap().value.base_ms *= 1.1,
            "stepTime.decode.fit.baseMs|21.9|24.09|+10.0%|assumed|assumed\n",
        );
        let forward = diff(&a, &profile("a10g-llama3-8b-vllm"));
        let backward = diff(&profile("a10g-llama3-8b-vllm"), &a);
        assert!(forward.len() > 10 && forward.len() == backward.len(), "{forward:?}");
    }

    #[test]
    fn tables_show_their_largest_change() {
        let mut found = Vec::new();
        walk("t", &serde_json::json!([[1.0, 2.0], [4.0, 5.0], [7.0, 8.0]]), None, &mut found);
        let mut other = found.clone();
        other[0].1.numbers[3] = 4.0;
        other[0].1.numbers[0] = 1.1;
        let found = difference("t", Some(&found[0].1), Some(&other[0].1)).unwrap();
        assert_eq!(found.values, [Some("3 x 2 values".to_owned()), Some("3 x 2 values".to_owned())]);
        assert!((found.change.unwrap() + 0.2).abs() < 1e-12, "{found:?}");
    }
}
