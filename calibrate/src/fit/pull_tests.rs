//! The fit finds the parameters that made the samples, and says what it cannot know.

use proptest::prelude::*;

use super::*;

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

fn model() -> PullModel {
    PullModel {
        connections: 3,
        manifest: SimDuration::from_millis(300),
        per_request: SimDuration::from_millis(40),
        link_bytes_per_second: Some(Bytes(200_000_000)),
        connection_bytes_per_second: Some(Bytes(100_000_000)),
        gzip_bytes_per_second: Some(Bytes(90_000_000)),
        zstd_bytes_per_second: Some(Bytes(300_000_000)),
        write_bytes_per_second: Some(Bytes(500_000_000)),
        per_file: SimDuration::from_nanos(20_000),
        per_layer: SimDuration::from_millis(50),
    }
}

/// Layers of different sizes, ratios and file counts: media type, MB stored, MB of tar, entries.
const LAYERS: [(&str, u64, u64, u64); 7] = [
    (GZIP, 30, 80, 5_000),
    (GZIP, 900, 2_000, 20_000),
    (ZSTD, 200, 700, 900),
    (PLAIN, 50, 50, 3),
    (GZIP, 1, 4, 4_000),
    (ZSTD, 400, 500, 12_000),
    (GZIP, 300, 350, 60),
];

/// What a pull over so many connections leaves if the model holds exactly.
fn pull(number: u32, connections: u32, model: &PullModel) -> Vec<Record> {
    let mut model = model.clone();
    model.connections = connections;
    let layers: Vec<ImageLayer> = LAYERS
        .iter()
        .map(|(media_type, stored, tar, files)| ImageLayer {
            compression: compression(media_type).unwrap(),
            compressed: Bytes(stored * 1_000_000),
            uncompressed: Bytes(tar * 1_000_000),
            files: *files,
        })
        .collect();
    let ns = |seconds: f64| (seconds * 1e9).round() as u64;
    let times = model.predict(&layers);
    let mut begins = download_begins(&model, &times);
    let mut records: Vec<Record> = Vec::new();
    for (i, (layer, time)) in layers.iter().zip(&times).enumerate() {
        let begin = begins.remove(0);
        records.push(Record::Layer(LayerSample {
            pull: number,
            layer: i as u32,
            media_type: LAYERS[i].0.to_owned(),
            compressed_bytes: layer.compressed.0,
            raw_bytes: layer.uncompressed.0,
            files: layer.files,
            download_ns: Some([begin, begin + model.per_request.as_secs_f64(), time.downloaded_s].map(ns)),
            verify_ns: 1,
            decompress_ns: ns(model.decompress_s(layer)),
            unpack_ns: [time.unpacked_s - model.unpack_s(layer), time.unpacked_s].map(ns),
        }));
    }
    let total_ns = ns(times.last().unwrap().unpacked_s);
    let manifest_ns = model.manifest.as_nanos();
    records.push(Record::Pull(PullSample { pull: number, connections, manifest_ns, total_ns }));
    records
}

/// When each layer is asked for: as soon as a slot is free.
fn download_begins(model: &PullModel, times: &[thawline::profile::image::LayerTimes]) -> Vec<f64> {
    let manifest = model.manifest.as_secs_f64();
    let slots = model.connections as usize;
    (0..times.len())
        .map(|i| {
            if i < slots {
                return manifest;
            }
            let mut ends: Vec<f64> = times[..i].iter().map(|t| t.downloaded_s).collect();
            ends.sort_by(f64::total_cmp);
            ends[i - slots]
        })
        .collect()
}

fn assert_near(found: &PullModel, expected: &PullModel, tolerance: f64) {
    let pairs = |m: &PullModel| {
        let rates = [
            m.link_bytes_per_second,
            m.connection_bytes_per_second,
            m.gzip_bytes_per_second,
            m.zstd_bytes_per_second,
            m.write_bytes_per_second,
        ];
        let times = [m.manifest, m.per_request, m.per_file, m.per_layer].map(SimDuration::as_secs_f64);
        (rates.map(|r| r.map(|r| r.0 as f64)), times, m.connections)
    };
    let ((rates, times, k), (expected_rates, expected_times, expected_k)) = (pairs(found), pairs(expected));
    assert_eq!(k, expected_k);
    for (found, expected) in rates.iter().zip(expected_rates) {
        assert_eq!(found.is_some(), expected.is_some(), "{rates:?}, not {expected_rates:?}");
        let near = (found.unwrap_or(1.0) / expected.unwrap_or(1.0) - 1.0).abs() < tolerance;
        assert!(near, "{rates:?}, not {expected_rates:?}");
    }
    for (found, expected) in times.iter().zip(expected_times) {
        assert!(
            (found - expected).abs() <= tolerance * expected.max(1e-3),
            "{times:?}, not {expected_times:?}"
        );
    }
}

#[test]
fn the_parameters_that_made_the_pulls_are_found() {
    let check = |change: &dyn Fn(&mut PullModel), expected: &dyn Fn(&mut PullModel)| {
        let mut truth = model();
        change(&mut truth);
        let records: Vec<Record> =
            [(0, 1), (1, 3), (2, 1), (3, 3)].iter().flat_map(|(n, k)| pull(*n, *k, &truth)).collect();
        let found = fit(&records).unwrap();
        expected(&mut truth);
        assert_near(&found.model, &truth, 1e-4);
        assert!(found.network && found.pulls.len() == 4);
        assert!(found.pulls.iter().all(|p| p.relative_error().abs() < 1e-4), "{:?}", found.pulls);
    };
    let same = |_: &mut PullModel| {};
    check(&same, &same);
    // Three connections do not fill this link: it is not seen.
    let wide = |m: &mut PullModel| m.link_bytes_per_second = Some(Bytes(2_000_000_000));
    check(&wide, &|m| m.link_bytes_per_second = None);
    // One connection fills this one: its own limit is not seen.
    let narrow = |m: &mut PullModel| m.link_bytes_per_second = Some(Bytes(20_000_000));
    check(&narrow, &|m| m.connection_bytes_per_second = None);
    // The link is the limit for three, and not for two.
    let shared_by_three = |m: &mut PullModel| m.link_bytes_per_second = Some(Bytes(220_000_000));
    check(&shared_by_three, &same);
}

#[test]
fn a_layout_tells_nothing_of_the_network() {
    let mut records = pull(0, 3, &model());
    let mut total_ns = 0;
    for record in &mut records {
        match record {
            Record::Layer(layer) => {
                let took = layer.unpack_ns[1] - layer.unpack_ns[0];
                layer.unpack_ns = [total_ns, total_ns + took];
                total_ns += took;
                layer.download_ns = None;
            }
            Record::Pull(pull) => (pull.connections, pull.manifest_ns, pull.total_ns) = (0, 0, total_ns),
            _ => {}
        }
    }
    let found = fit(&records).unwrap();
    assert!(!found.network);
    assert_eq!((found.model.link_bytes_per_second, found.model.connection_bytes_per_second), (None, None));
    assert_eq!(found.model.connections, CONNECTIONS);
    assert!(found.pulls[0].relative_error().abs() < 1e-4, "{:?}", found.pulls);
    let origin = Origin::of_test();
    assert_eq!(found.stage(&origin), None);
    assert!(found.image(&origin).pull.note.unwrap().contains("network was not measured"));
}

#[test]
fn the_stage_holds_whole_pulls_over_several_connections() {
    let mut records = pull(0, 1, &model());
    records.extend(pull(1, 3, &model()));
    let mut part = Part::default();
    contribute(&records, &Origin::of_test(), &mut part);
    let [stage] = &part.start_up[..] else { panic!("one stage: {:?}", part.start_up) };
    let Record::Pull(last) = records.last().unwrap() else { panic!("the pull comes last") };
    assert_eq!(stage.time.value, Distribution::Constant(SimDuration::from_nanos(last.total_ns)));
    assert_eq!(stage.time.source.as_deref(), Some("a test"));
    let errors = part.validation[0].errors;
    assert!(errors.points == 2 && errors.mape <= errors.max && errors.p95 <= errors.max, "{errors:?}");
    assert_eq!(part.image.unwrap().layers.value.len(), LAYERS.len());

    let mut without = Part::default();
    contribute(&[], &Origin::of_test(), &mut without);
    contribute(&records[..3], &Origin::of_test(), &mut without);
    assert_eq!((without.image, without.notes.len()), (None, 1), "a pull that was cut off is a note");
}

#[test]
fn what_is_incomplete_or_mixed_is_refused() {
    let check = |records: &[Record], code: &str, why: &str| {
        let faults = fit(records).unwrap_err();
        assert_eq!(faults[0].code, code);
        assert!(faults[0].message.contains(why), "{faults:?}");
    };
    let whole = pull(0, 3, &model());
    check(&[], "E0707", "no complete image pull");
    check(&whole[..7], "E0707", "no complete image pull");
    let mut mixed = whole.clone();
    mixed.extend(pull(1, 1, &model()));
    let Record::Layer(layer) = &mut mixed[8] else { panic!("a layer") };
    layer.files += 1;
    check(&mixed, "E0706", "pull 1 is not of the image");
    // A pull that was cut off and made again counts once.
    let mut again = whole[..3].to_vec();
    again.extend(whole.clone());
    assert_eq!(fit(&again).unwrap(), fit(&whole).unwrap());
}

proptest! {
    #[test]
    fn noise_moves_the_parameters_little(noise in prop::collection::vec(0.97_f64..1.03, 28)) {
        let mut records: Vec<Record> =
            [(0, 1), (1, 3), (2, 1), (3, 3)].iter().flat_map(|(n, k)| pull(*n, *k, &model())).collect();
        let mut noise = noise.into_iter();
        for record in &mut records {
            if let Record::Layer(layer) = record {
                let factor = noise.next().unwrap();
                let [begin, end] = layer.unpack_ns;
                layer.unpack_ns[1] = begin + ((end - begin) as f64 * factor) as u64;
            }
        }
        let found = fit(&records).unwrap();
        prop_assert!(found.pulls.iter().all(|p| p.relative_error().abs() < 0.05), "{:?}", found.pulls);
    }
}
