//! `thawline-calibrate pull` from outside: against the real `docker-registry`, against one in
//! this process that refuses, lies and breaks off, and from a layout.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod registry;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use registry::{Answer, Image, Layer, Real, Request, Small, digest, image, image_of};
use thawline_calibrate::fit::pull::fit;
use thawline_calibrate::raw::{LayerSample, PullSample, Record, read};

/// A place to run in: scratch, raw file and logins of its own.
struct Place {
    folder: tempfile::TempDir,
}

/// How a run ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("scratch")).unwrap();
        Self { folder }
    }

    fn raw(&self) -> PathBuf {
        self.folder.path().join("x.raw.jsonl")
    }

    fn pull(&self, arguments: &[&str]) -> Ended {
        self.pull_with(&[], arguments)
    }

    fn pull_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let mut command = Command::cargo_bin("thawline-calibrate").unwrap();
        command.env("DOCKER_CONFIG", self.folder.path()).env_remove("THAWLINE_REGISTRY_PASSWORD");
        command.envs(environment.iter().copied());
        command.arg("pull").args(arguments).arg("--raw").arg(self.raw());
        // The data of other tests are no concern of these.
        command.arg("--no-sync").arg("--scratch").arg(self.folder.path().join("scratch"));
        let output = command.output().unwrap();
        let left = std::fs::read_dir(self.folder.path().join("scratch")).unwrap().count();
        assert_eq!(left, 0, "the scratch folder is empty afterwards");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn layers<'a>(records: &'a [Record], pull: u32) -> Vec<&'a LayerSample> {
    let of = |record: &'a Record| if let Record::Layer(layer) = record { Some(layer) } else { None };
    records.iter().filter_map(of).filter(|layer| layer.pull == pull).collect()
}

fn pulls(records: &[Record]) -> Vec<&PullSample> {
    records
        .iter()
        .filter_map(|record| if let Record::Pull(pull) = record { Some(pull) } else { None })
        .collect()
}

/// Every layer is there as it was made, and its times are in order.
fn assert_whole(image: &Image, samples: &[&LayerSample], downloaded: bool) {
    assert_eq!(samples.len(), image.layers.len());
    let mut unpacked = 0;
    for (sample, made) in samples.iter().zip(&image.layers) {
        assert_eq!(sample.media_type, made.media_type);
        assert_eq!(sample.compressed_bytes, made.blob.len() as u64);
        assert_eq!((sample.raw_bytes, sample.files), (made.tar.len() as u64, made.files));
        assert!(sample.decompress_ns > 0 && sample.verify_ns > 0, "{sample:?}");
        let [begin, end] = sample.unpack_ns;
        assert!(unpacked <= begin && begin < end, "one after the other: {sample:?}");
        unpacked = end;
        assert_eq!(sample.download_ns.is_some(), downloaded);
        if let Some([asked, first, last]) = sample.download_ns {
            assert!(asked < first && first < last && last <= begin, "{sample:?}");
        }
    }
}

#[test]
fn a_real_registry_is_pulled_from_and_timed() {
    let Some(registry) = Real::start() else { return };
    let image = image();
    registry.push(&image);
    let place = Place::new();
    let named = format!("{}/test/image:v1", registry.host);
    let ended = place.pull(&[&named, "--repeat", "1", "--connections", "2", "--name", "an-image"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for part in
        ["LAYER", "zstd", "1 connection", "2 connections", "model: 2 at a time", "gunzip", "x.raw.jsonl"]
    {
        assert!(ended.stdout.contains(part), "`{part}` is missing from:\n{}", ended.stdout);
    }
    assert!(ended.stderr.contains("pull 2 of 2, 2 connections, 4 layers: "), "{}", ended.stderr);
    let raw = read(&place.raw()).unwrap();
    assert!(raw.is_complete());
    assert_eq!(raw.header.name, "an-image");
    assert!(raw.header.source.contains("/test/image:v1 (sha256:"), "{}", raw.header.source);
    let ran: Vec<(u32, u32)> = pulls(&raw.records).iter().map(|p| (p.pull, p.connections)).collect();
    assert_eq!(ran, [(0, 1), (1, 2)]);
    for pull in pulls(&raw.records) {
        let samples = layers(&raw.records, pull.pull);
        assert_whole(&image, &samples, true);
        assert!(samples.iter().all(|s| s.download_ns.unwrap()[0] >= pull.manifest_ns));
        assert!(pull.total_ns >= samples.last().unwrap().unpack_ns[1]);
        // With one connection, no download begins before the one before it has ended.
        let downloads: Vec<[u64; 3]> = samples.iter().filter_map(|s| s.download_ns).collect();
        let in_turn = downloads.windows(2).all(|w| w[0][2] <= w[1][0]);
        assert_eq!(in_turn, pull.connections == 1, "{downloads:?}");
    }
    let found = fit(&raw.records).unwrap();
    assert!(found.network && found.layers.len() == 4 && found.model.connections == 2);

    // A complete file is left alone.
    let before = std::fs::read(place.raw()).unwrap();
    let again = place.pull(&[&named, "--repeat", "1", "--connections", "2", "--name", "an-image"]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("complete measurement already"), "{}", again.stderr);
    assert_eq!(std::fs::read(place.raw()).unwrap(), before);

    // Cut off in the second pull, it goes on with that one.
    let text = String::from_utf8(before).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    std::fs::write(place.raw(), lines[..lines.len() - 3].concat()).unwrap();
    let resumed = place.pull(&[&named, "--repeat", "1", "--connections", "2", "--name", "an-image"]);
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    assert!(resumed.stderr.contains("1 pulls are in it"), "{}", resumed.stderr);
    assert!(!resumed.stderr.contains("pull 1 of 2"), "{}", resumed.stderr);
    let raw = read(&place.raw()).unwrap();
    assert!(raw.is_complete());
    assert_eq!(pulls(&raw.records).len(), 2);
}

#[test]
fn a_real_registry_chooses_the_platform_and_knows_what_it_has_not() {
    let Some(registry) = Real::start() else { return };
    let image = image();
    registry.push(&image);
    let mut index: serde_json::Value = serde_json::from_slice(&registry::index(&image)).unwrap();
    // The registry checks that what an index lists is there: only the real image is.
    index["manifests"].as_array_mut().unwrap().remove(0);
    registry.put_manifest("all", registry::INDEX, index.to_string().as_bytes());
    let check = |version: &str, arguments: &[&str], expected: &[&str]| {
        let place = Place::new();
        let named = format!("{}/test/image{version}", registry.host);
        let ended = place.pull(&[&[&named[..], "--repeat", "1", "-k", "1"], arguments].concat());
        let code = if expected.is_empty() { 0 } else { 2 };
        assert_eq!(ended.code, Some(code), "{version}: {}", ended.stderr);
        for part in expected {
            assert!(ended.stderr.contains(part), "{version}: `{part}` is missing from:\n{}", ended.stderr);
        }
        if expected.is_empty() {
            assert_eq!(pulls(&read(&place.raw()).unwrap().records).len(), 1);
        }
    };
    check(":all", &["--platform", "linux/amd64"], &[]);
    check(&format!("@{}", digest(&image.manifest)), &[], &[]);
    check(":all", &["--platform", "linux/s390x"], &["E0704", "no image for linux/s390x", "linux/amd64"]);
    check(":v9", &[], &["E0704", "404", "MANIFEST_UNKNOWN", "check registry, repository and tag"]);
    check("-not-there:v1", &[], &["E0704", "404"]);
}

#[test]
fn a_layout_is_unpacked_without_a_network() {
    let (place, image) = (Place::new(), image());
    let layout = place.folder.path().join("layout");
    registry::write_layout(&image, &layout);
    let folder = layout.to_str().unwrap();
    let ended = place.pull(&["--layout", folder, "v1", "--repeat", "2"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("The network was not measured"), "{}", ended.stdout);
    let raw = read(&place.raw()).unwrap();
    let ran: Vec<(u32, u32)> = pulls(&raw.records).iter().map(|p| (p.pull, p.connections)).collect();
    assert_eq!(ran, [(0, 0), (1, 0)]);
    assert_whole(&image, &layers(&raw.records, 1), false);
    let found = fit(&raw.records).unwrap();
    assert!(!found.network && found.layers.len() == image.layers.len());

    let check = |arguments: &[&str], expected: &str| {
        let ended = Place::new().pull(arguments);
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains(expected), "{arguments:?}: {}", ended.stderr);
    };
    check(&["--layout", folder, "v2"], "there is no image `v2`, only: v1");
    check(&["--layout", place.folder.path().to_str().unwrap()], "is no OCI layout");
    let blob = layout.join("blobs/sha256").join(&digest(&image.layers[0].blob)[7..]);
    let mut bytes = image.layers[0].blob.clone();
    bytes[1000] ^= 1;
    std::fs::write(blob, bytes).unwrap();
    check(&["--layout", folder], "layer 0 of 4");
}

/// A registry behind a token server that wants this login, if any.
fn guarded(image: &Image, login: Option<&'static str>) -> Small {
    let paths = registry::paths(image);
    Small::start(move |own: &str, request: &Request| {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        if path == "/token" {
            let scoped =
                query.contains("service=small") && query.contains("repository%3Atest%2Fimage%3Apull");
            assert!(scoped, "the token is asked for as the challenge says: {query}");
            let allowed = request.authorization.as_deref() == login;
            let token = if allowed { "{\"token\":\"open\",\"expires_in\":60}" } else { "{\"errors\":[]}" };
            return Answer::new(if allowed { 200 } else { 401 }, token);
        }
        if request.authorization.as_deref() != Some("Bearer open") {
            let challenge = format!(
                "Bearer realm=\"http://{own}/token\",service=\"small\",scope=\"repository:test/image:pull\""
            );
            return Answer::new(401, "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}")
                .with("WWW-Authenticate", &challenge);
        }
        paths.get(path).map_or_else(|| Answer::new(404, ""), |body| Answer::new(200, &body[..]))
    })
}

#[test]
fn tokens_are_fetched_with_the_login_there_is() {
    // base64 of `ann:secret`, RFC 7617.
    const ANN: &str = "Basic YW5uOnNlY3JldA==";
    let image = image();
    let once = ["--repeat", "1", "-k", "1"];
    let anonymous = guarded(&image, None);
    let named = format!("{}/test/image:v1", anonymous.host);
    let ended = Place::new().pull(&[&[&named[..]], &once[..]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let private = guarded(&image, Some(ANN));
    let named = format!("{}/test/image:v1", private.host);
    let arguments = [&[&named[..]], &once[..]].concat();
    let refused = Place::new().pull(&arguments);
    assert_eq!(refused.code, Some(2));
    for part in ["E0704", "401", "docker login", "THAWLINE_REGISTRY_PASSWORD"] {
        assert!(refused.stderr.contains(part), "`{part}` is missing from:\n{}", refused.stderr);
    }
    let ann = [&arguments[..], &["--username", "ann"]].concat();
    let without = Place::new().pull(&ann);
    assert!(without.stderr.contains("THAWLINE_REGISTRY_PASSWORD is not set"), "{}", without.stderr);
    let wrong = Place::new().pull_with(&[("THAWLINE_REGISTRY_PASSWORD", "guess")], &ann);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("this user may not pull it"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("guess"), "{}", wrong.stderr);
    let right = Place::new().pull_with(&[("THAWLINE_REGISTRY_PASSWORD", "secret")], &ann);
    assert_eq!(right.code, Some(0), "{}", right.stderr);

    let place = Place::new();
    let logins = format!("{{\"auths\":{{\"{}\":{{\"auth\":\"{}\"}}}}}}", private.host, &ANN[6..]);
    std::fs::write(place.folder.path().join("config.json"), logins).unwrap();
    let ended = place.pull(&arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let raw = std::fs::read_to_string(place.raw()).unwrap();
    assert!(!raw.contains("secret") && !raw.contains("YW5u") && !raw.contains("open"), "{raw}");
}

#[test]
fn a_basic_challenge_and_a_token_that_runs_out_are_answered() {
    let image = image();
    let paths = registry::paths(&image);
    let basic = Small::start(move |_, request| {
        if request.authorization.as_deref() == Some("Basic YW5uOnNlY3JldA==") {
            return Answer::new(200, &paths[&request.path][..]);
        }
        Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\"")
    });
    let named = format!("{}/test/image:v1", basic.host);
    let login = [("THAWLINE_REGISTRY_PASSWORD", "secret")];
    let ended = Place::new().pull_with(&login, &[&named, "--repeat", "1", "--username", "ann"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    // Each token is good for three requests.
    let (paths, uses) = (registry::paths(&image), std::sync::Mutex::new((0_u32, 0_u32)));
    let forgetful = Small::start(move |own, request| {
        let mut uses = uses.lock().unwrap();
        if request.path.starts_with("/token") {
            *uses = (uses.0 + 1, 0);
            return Answer::new(200, format!("{{\"access_token\":\"t{}\"}}", uses.0));
        }
        uses.1 += 1;
        if uses.1 <= 3 && request.authorization == Some(format!("Bearer t{}", uses.0)) {
            return Answer::new(200, &paths[&request.path][..]);
        }
        let challenge = format!("Bearer realm=\"http://{own}/token\"");
        Answer::new(401, "").with("WWW-Authenticate", &challenge)
    });
    let named = format!("{}/test/image:v1", forgetful.host);
    let ended = Place::new().pull(&[&named, "--repeat", "1", "-k", "1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// What a registry makes of an answer that would have been right, by the path asked for.
type Change = Box<dyn Fn(&str, Answer) -> Answer + Send + Sync>;

#[test]
fn registries_that_refuse_lie_or_break_off_are_told_from_each_other() {
    let image = image();
    let blob = |i: usize| format!("/v2/test/image/blobs/{}", digest(&image.layers[i].blob));
    let check = |change: Change, expected: &[&str]| {
        let small = Small::holding(&image, change);
        let place = Place::new();
        let named = format!("{}/test/image:v1", small.host);
        let ended = place.pull(&[&named, "--repeat", "1", "-k", "2"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{expected:?}");
        for part in [&["E0704"], expected].concat() {
            assert!(ended.stderr.contains(part), "`{part}` is missing from:\n{}", ended.stderr);
        }
        assert_resumable(&place.raw());
    };
    let everywhere = |answer: Answer| -> Change { Box::new(move |_, _| answer.clone()) };
    let at = |path: String, change: fn(Answer) -> Answer| -> Change {
        Box::new(move |asked, answer| if asked == path { change(answer) } else { answer })
    };
    check(
        everywhere(Answer::new(404, "<html>nothing here")),
        &["404", "<html>nothing here", "check registry"],
    );
    check(
        everywhere(Answer::new(403, "{\"errors\":[{\"code\":\"DENIED\"}]}")),
        &["403", "DENIED", "docker login"],
    );
    let busy = Answer::new(429, "{\"errors\":[{\"code\":\"TOOMANYREQUESTS\"}]}").with("Retry-After", "90");
    check(everywhere(busy), &["429", "TOOMANYREQUESTS", "limits pulls", "after 90 s"]);
    check(everywhere(Answer::new(200, "<html>")), &["its manifest cannot be read"]);
    check(at(blob(1), |_| Answer::new(500, "")), &["500"]);
    check(at(blob(0), |a| Answer { body: a.body[..a.body.len() / 2].to_vec(), ..a }), &["layer 0 of 4"]);
    check(at(blob(1), |a| Answer::new(200, &a.body[..9])), &["layer 1 of 4", "only 9 bytes"]);
    check(at(blob(1), |a| Answer::new(200, [&a.body[..], b"!"].concat())), &["layer 1 of 4", "more than"]);
    let flipped = |mut answer: Answer| {
        answer.body[500] ^= 1;
        answer
    };
    check(at(blob(2), flipped), &["layer 2 of 4", "what came has digest sha256:"]);
    let config = format!("/v2/test/image/blobs/{}", digest(&image.config));
    check(at(config, |_| Answer::new(200, "{}")), &["the config should have digest sha256:"]);
}

/// What is left of a measurement that failed does not stand in the way of the next.
fn assert_resumable(raw: &Path) {
    if raw.exists() {
        let found = read(raw).unwrap();
        assert!(found.records.is_empty() && !found.is_complete(), "{found:?}");
    }
}

#[test]
fn images_that_are_not_what_they_say_are_refused() {
    let check = |image: &Image, expected: &str| {
        let small = Small::holding(image, |_, answer| answer);
        let ended = Place::new().pull(&[&format!("{}/test/image:v1", small.host), "--repeat", "1"]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains("E0704") && ended.stderr.contains(expected), "{}", ended.stderr);
    };
    let one = |media_type: &'static str, blob: &[u8]| {
        image_of(vec![Layer { media_type, blob: blob.to_vec(), tar: vec![0; 1024], files: 0 }])
    };
    let plain = "application/vnd.oci.image.layer.v1.tar";
    check(&one("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"x"), "layer 0 is foreign");
    check(
        &one("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"x"),
        "not the layer of a container image",
    );
    check(&one(plain, &[0; 2048]), "layer 0: its tar has digest");
    check(&one("application/vnd.oci.image.layer.v1.tar+gzip", b"no gzip"), "layer 0 of 1");
}

#[test]
fn a_registry_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let ended = Place::new().pull(&[&format!("{host}/test/image:v1")]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    for part in ["E0704", &host, "refused", "check that the registry runs there"] {
        assert!(ended.stderr.contains(part), "`{part}` is missing from:\n{}", ended.stderr);
    }
    let ended = Place::new().pull(&["Not An Image"]);
    assert!(ended.stderr.contains("is not an image name"), "{}", ended.stderr);
    let mut bare = Command::cargo_bin("thawline-calibrate").unwrap();
    assert_eq!(bare.arg("pull").output().unwrap().status.code(), Some(2));
}
