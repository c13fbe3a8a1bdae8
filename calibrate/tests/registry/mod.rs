//! An image made on the spot, and two registries to pull it from: a small one in this
//! process, which can be told to misbehave, and the real `docker-registry`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// A layer: media type, blob, tar, entries of the tar.
pub struct Layer {
    pub media_type: &'static str,
    pub blob: Vec<u8>,
    pub tar: Vec<u8>,
    pub files: u64,
}

/// An image with its manifest and config.
pub struct Image {
    pub layers: Vec<Layer>,
    pub config: Vec<u8>,
    pub manifest: Vec<u8>,
}

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Text that compresses like programs do: words in a pseudo-random order.
fn prose(seed: u64, bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 8] =
        ["layer ", "registry ", "unpack\n", "cold ", "start ", "0x7f ", "\0\0\0\0", "node "];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.extend_from_slice(WORDS[(state % 8) as usize].as_bytes());
        text.extend_from_slice(&state.to_le_bytes()[..(state >> 60) as usize % 3]);
    }
    text.truncate(bytes);
    text
}

struct Tar(tar::Builder<Vec<u8>>, u64);

impl Tar {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()), 0)
    }

    fn add(mut self, name: &str, kind: tar::EntryType, contents: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind.is_dir() { 0o555 } else { 0o644 });
        header.set_mtime(1_000_000);
        header.set_size(contents.len() as u64);
        self.0.append_data(&mut header, name, contents).unwrap();
        self.1 += 1;
        self
    }

    fn file(self, name: &str, contents: &[u8]) -> Self {
        self.add(name, tar::EntryType::Regular, contents)
    }

    fn link(mut self, name: &str, kind: tar::EntryType, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_size(0);
        self.0.append_link(&mut header, name, target).unwrap();
        self.1 += 1;
        self
    }

    fn done(self) -> (Vec<u8>, u64) {
        (self.0.into_inner().unwrap(), self.1)
    }
}

/// Four layers: gzip with links and a long name, zstd with whiteouts, a plain one, an empty one.
pub fn image() -> Image {
    let long = format!("usr/{}/{}", "d".repeat(120), "f".repeat(120));
    let (one, one_files) = Tar::new()
        .add("usr/", tar::EntryType::Directory, b"")
        .file("usr/big", &prose(1, 3_000_000))
        .file(&long, b"long")
        .link("usr/hard", tar::EntryType::Link, "usr/big")
        .link("lib", tar::EntryType::Symlink, "/usr")
        .file("etc/old", b"old")
        .file("etc/keep", b"keep")
        .done();
    let mut small = Tar::new().file("etc/.wh.old", b"").file("lib/more", &prose(2, 2_000_000));
    for i in 0..200 {
        small = small.file(&format!("opt/{i}"), &prose(i, 300));
    }
    let (two, two_files) = small.done();
    let (three, three_files) =
        Tar::new().file("opt/.wh..wh..opq", b"").file("opt/model", &prose(3, 1_500_000)).done();
    let (four, four_files) = Tar::new().done();
    let gzip = |tar: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(tar).unwrap();
        encoder.finish().unwrap()
    };
    let layer = |media_type, blob, tar, files| Layer { media_type, blob, tar, files };
    let docker_gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let layers = vec![
        layer("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&one), one, one_files),
        layer(
            "application/vnd.oci.image.layer.v1.tar+zstd",
            zstd::encode_all(&two[..], 3).unwrap(),
            two,
            two_files,
        ),
        layer("application/vnd.oci.image.layer.v1.tar", three.clone(), three, three_files),
        layer(docker_gzip, gzip(&four), four, four_files),
    ];
    image_of(layers)
}

/// An image of these layers.
pub fn image_of(layers: Vec<Layer>) -> Image {
    let ids: Vec<String> = layers.iter().map(|layer| digest(&layer.tar)).collect();
    let rootfs = serde_json::json!({ "type": "layers", "diff_ids": ids });
    let config = serde_json::json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs });
    let config = serde_json::to_vec(&config).unwrap();
    let described: Vec<_> = layers.iter().map(|l| describe(l.media_type, &l.blob)).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe("application/vnd.oci.image.config.v1+json", &config),
        "layers": described,
    });
    Image { layers, config, manifest: serde_json::to_vec(&manifest).unwrap() }
}

pub fn describe(media_type: &str, blob: &[u8]) -> serde_json::Value {
    serde_json::json!({ "mediaType": media_type, "digest": digest(blob), "size": blob.len() })
}

/// An index with the image for linux/amd64 and one for a platform nobody has.
pub fn index(image: &Image) -> Vec<u8> {
    let mut one = describe(MANIFEST, &image.manifest);
    one["platform"] = serde_json::json!({ "os": "linux", "architecture": "amd64" });
    let mut other = describe(MANIFEST, b"another");
    other["platform"] = serde_json::json!({ "os": "plan9", "architecture": "mips" });
    serde_json::to_vec(&serde_json::json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [other, one],
    }))
    .unwrap()
}

/// Writes the image as an OCI layout, named `v1`.
pub fn write_layout(image: &Image, folder: &Path) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let all = image.layers.iter().map(|l| &l.blob).chain([&image.config, &image.manifest]);
    for blob in all {
        std::fs::write(blobs.join(digest(blob).trim_start_matches("sha256:")), blob).unwrap();
    }
    let mut one = describe(MANIFEST, &image.manifest);
    one["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "v1" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [one] });
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
}

/// A request, as far as the small registry looks at it.
pub struct Request {
    pub path: String,
    pub authorization: Option<String>,
}

/// An answer; `promised` bytes are announced, whatever is sent.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub promised: usize,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, headers: Vec::new(), promised: body.len(), body }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A registry in this process: what it answers is up to a function.
pub struct Small {
    pub host: String,
}

impl Small {
    pub fn start(answer: impl Fn(&str, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (answer, own) = (Arc::new(answer), host.clone());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, own) = (answer.clone(), own.clone());
                std::thread::spawn(move || serve(&stream, |request| answer(&own, request)));
            }
        });
        Self { host }
    }

    /// One that holds the image as `test/image:v1`, changed by `change` by path.
    pub fn holding(image: &Image, change: impl Fn(&str, Answer) -> Answer + Send + Sync + 'static) -> Self {
        let paths = paths(image);
        Self::start(move |_, request| {
            let found =
                paths.get(&request.path).map_or_else(|| Answer::new(404, ""), |b| Answer::new(200, &b[..]));
            change(&request.path, found)
        })
    }
}

/// Every path of the image `test/image:v1` and what lies there.
pub fn paths(image: &Image) -> BTreeMap<String, Vec<u8>> {
    let mut paths = BTreeMap::new();
    for blob in image.layers.iter().map(|l| &l.blob).chain([&image.config]) {
        paths.insert(format!("/v2/test/image/blobs/{}", digest(blob)), blob.clone());
    }
    for version in ["v1".to_owned(), digest(&image.manifest)] {
        paths.insert(format!("/v2/test/image/manifests/{version}"), image.manifest.clone());
    }
    paths
}

fn serve(mut stream: &TcpStream, answer: impl Fn(&Request) -> Answer) {
    let mut lines = BufReader::new(stream).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request { path, authorization: None };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            request.authorization = Some(value.to_owned());
        }
    }
    let answer = answer(&request);
    let mut head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n", answer.status, answer.promised);
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    // A client that has seen enough may be gone.
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes());
    let _ = stream.write_all(&answer.body);
}

/// The real `docker-registry` on a port of its own, its storage in a folder that goes with it.
pub struct Real {
    pub host: String,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Real {
    /// None, with the reason printed, where it is not installed and need not be.
    pub fn start() -> Option<Self> {
        let binary = ["/usr/bin/docker-registry", "/usr/local/bin/docker-registry"]
            .into_iter()
            .map(PathBuf::from)
            .find(|path| path.exists());
        let Some(binary) = binary else {
            let required = std::env::var_os("THAWLINE_REQUIRE_REGISTRY").is_some();
            assert!(!required, "docker-registry is not installed, and THAWLINE_REQUIRE_REGISTRY is set");
            eprintln!(
                "docker-registry is not installed (Debian: apt-get install docker-registry): not pulled from it"
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // The port is free a moment later, too, save for bad luck: then another is tried.
        for _ in 0..5 {
            let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let config = folder.path().join("config.yml");
            let root = folder.path().join("storage");
            let text = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{host}\"}}\n",
                root.display()
            );
            std::fs::write(&config, text).unwrap();
            let mut command = Command::new(&binary);
            command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(&host).is_ok() {
                    return Some(Self { host, child, _folder: folder });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start")
    }

    /// Pushes the image as `test/image:v1`, and an index with it as `:all`.
    pub fn push(&self, image: &Image) {
        for blob in image.layers.iter().map(|l| &l.blob).chain([&image.config]) {
            let uploads = format!("http://{}/v2/test/image/blobs/uploads/", self.host);
            let started = agent().post(&uploads).send_empty().unwrap();
            let location = started.headers()["location"].to_str().unwrap().to_owned();
            let joint = if location.contains('?') { '&' } else { '?' };
            let put = format!("{location}{joint}digest={}", digest(blob));
            let done = agent().put(&put).content_type("application/octet-stream").send(&blob[..]).unwrap();
            assert_eq!(done.status(), 201);
        }
        self.put_manifest("v1", MANIFEST, &image.manifest);
    }

    pub fn put_manifest(&self, tag: &str, media_type: &str, manifest: &[u8]) {
        let url = format!("http://{}/v2/test/image/manifests/{tag}", self.host);
        let done = agent().put(&url).content_type(media_type).send(manifest).unwrap();
        assert_eq!(done.status(), 201);
    }
}

/// No proxy stands between a test and its own registry.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).build().new_agent()
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
