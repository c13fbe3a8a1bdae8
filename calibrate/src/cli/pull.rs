//! `pull`: times image pulls, keeps the samples, and shows what they tell.

use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;
use thawline::kernel::Bytes;
use thawline::profile::page::table;
use thawline::profile::show::pull_text;

use super::{Answer, Exit, console};
use crate::fit::pull::{PullFit, fit};
use crate::pull::{Credentials, Plan, Platform, Progress, Pull, Reference, Source, docker_login};
use crate::raw::{RawWriter, Record, read};
use crate::{Fault, Result, fault};

/// Where a password comes from: never from the command line, which others can read.
const PASSWORD: &str = "THAWLINE_REGISTRY_PASSWORD";

/// Time the pull of an image: downloads, decompression and unpacking, layer by layer.
///
/// No container daemon is needed and nothing of the image stays on disk. Pulls with one
/// connection alternate with pulls over several, as new each time as on a fresh node.
#[derive(Args)]
#[command(after_help = "\
Examples:
  thawline-calibrate pull vllm/vllm-openai:v0.9.1 --scratch /var/tmp
  thawline-calibrate pull registry.example.com:5000/team/server@sha256:... --username ci
  thawline-calibrate pull --layout ./image    unpack only, from `skopeo copy docker://IMAGE oci:./image:v1`
  thawline-calibrate fit debian-12.raw.jsonl  the samples again, as a profile

Logins are those of `docker login`, unless --username is given with THAWLINE_REGISTRY_PASSWORD set.
Each layer is unpacked with one thread, gzip included, as containerd does without `unpigz`; ownership and
devices are left out. Run it on the kind of node that will pull, on the disk that holds its images.")]
pub(super) struct PullArgs {
    /// The image, as container tools name it; with --layout, the name of one in the layout.
    #[arg(required_unless_present = "layout")]
    image: Option<String>,
    /// Unpack the image of this OCI layout instead of pulling one.
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Layers downloaded at a time in the pulls with several connections; containerd's default.
    #[arg(long, short = 'k', default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    connections: u32,
    /// How often each kind of pull is made.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Which of the image's platforms [default: linux on this machine's processor].
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Speak HTTP without TLS; a registry on this machine always gets it.
    #[arg(long, conflicts_with = "layout")]
    plain_http: bool,
    /// Log in as this user, with the password in THAWLINE_REGISTRY_PASSWORD.
    #[arg(long, conflicts_with = "layout")]
    username: Option<String>,
    /// Where blobs and files go for the time being [default: the system's folder for such].
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Leave what was unpacked in the page cache, as containerd does, instead of waiting for the disk.
    #[arg(long)]
    no_sync: bool,
    /// Name of the profile to be [default: from the image].
    #[arg(long)]
    name: Option<String>,
    /// The kind of machine, in words: instance type, CPU, disk.
    #[arg(long)]
    host: Option<String>,
    /// The file of samples [default: NAME.raw.jsonl]; one that a kill cut off is continued.
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
}

pub(super) fn run(args: &PullArgs) -> Answer {
    let pull = Pull::prepare(plan(args)?)?;
    let header = pull.header(jiff::Timestamp::now());
    let path = args.raw.clone().unwrap_or_else(|| PathBuf::from(format!("{}.raw.jsonl", header.name)));
    let mut writer = RawWriter::start_or_resume(&path, &header)?;
    let resumed = writer.done().iter().filter(|r| matches!(r, Record::Pull(_))).count();
    if resumed > 0 {
        console::remark(&format!("going on with {}: {resumed} pulls are in it", path.display()));
    }
    let watch = Watch::new();
    let ran = pull.run(&mut writer, &|event| watch.show(event));
    watch.clear();
    ran?;
    let records = read(&path)?.records;
    for record in &records {
        if let Record::Flag(flag) = record {
            console::report(&[Fault::warning("W0701", flag.message.clone())]);
        }
    }
    console::print(&page(&fit(&records)?, &records));
    console::print(&format!("\nThe samples are in {}.\n", path.display()));
    Ok(Exit::Success)
}

fn plan(args: &PullArgs) -> Result<Plan> {
    let source = match (&args.layout, &args.image) {
        (Some(folder), name) => Source::Layout { folder: folder.clone(), name: name.clone() },
        (None, Some(image)) => {
            let image: Reference = image.parse().map_err(|why: String| fault("E0704", why))?;
            let credentials = credentials(args, &image)?;
            Source::Registry { image, plain_http: args.plain_http, credentials }
        }
        (None, None) => return Err(fault("E0704", "no image is named")),
    };
    Ok(Plan {
        source,
        platform: args.platform.clone().unwrap_or_else(Platform::of_this_machine),
        connections: args.connections,
        repeat: args.repeat,
        scratch: args.scratch.clone().unwrap_or_else(std::env::temp_dir),
        sync: !args.no_sync,
        name: args.name.clone(),
        host: args.host.clone(),
    })
}

fn credentials(args: &PullArgs, image: &Reference) -> Result<Option<Credentials>> {
    if let Some(username) = &args.username {
        let password = std::env::var(PASSWORD)
            .map_err(|_| fault("E0704", format!("--username is given and {PASSWORD} is not set")))?;
        return Ok(Some(Credentials { username: username.clone(), password }));
    }
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    folder.map_or(Ok(None), |folder| docker_login(&folder.join("config.json"), image.login()))
}

/// What the pulls tell, for people.
fn page(fit: &PullFit, records: &[Record]) -> String {
    let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let ms = |ns: u64| format!("{:.0}", ns as f64 / 1e6);
    let last = fit.pulls.last().map_or(0, |pull| pull.pull);
    let layers = records.iter().filter_map(|record| match record {
        Record::Layer(layer) if layer.pull == last => Some(layer),
        _ => None,
    });
    let rows = layers.zip(&fit.layers).map(|(sample, layer)| {
        let compression = match layer.compression {
            thawline::profile::image::Compression::None => "none",
            thawline::profile::image::Compression::Gzip => "gzip",
            thawline::profile::image::Compression::Zstd => "zstd",
        };
        let rate = sample.download_ns.map_or_else(
            || "-".to_owned(),
            |[_, first, end]| match end.saturating_sub(first) {
                0 => "-".to_owned(),
                ns => mb((sample.compressed_bytes as f64 * 1e9 / ns as f64) as u64),
            },
        );
        vec![
            sample.layer.to_string(),
            compression.to_owned(),
            mb(sample.compressed_bytes),
            mb(sample.raw_bytes),
            sample.files.to_string(),
            rate,
            ms(sample.verify_ns),
            ms(sample.decompress_ns),
            ms(sample.unpack_ns[1].saturating_sub(sample.unpack_ns[0])),
        ]
    });
    let header =
        ["LAYER", "STORED", "MB", "TAR MB", "FILES", "MB/S", "HASH MS", "DECOMPRESS MS", "UNPACK MS"];
    let mut out = table(&header, rows, &[0, 2, 3, 4, 5, 6, 7, 8]);
    let rows = fit.pulls.iter().map(|pull| {
        let kind = match pull.connections {
            0 => "from a layout".to_owned(),
            1 => "1 connection".to_owned(),
            k => format!("{k} connections"),
        };
        let [measured, predicted] = [pull.measured_s, pull.predicted_s];
        vec![
            pull.pull.to_string(),
            kind,
            format!("{:.2} s", measured[0]),
            format!("{:.2} s", measured[1]),
            format!("{:.2} s", predicted[1]),
            format!("{:+.1} %", pull.relative_error() * 100.0),
        ]
    });
    let header = ["PULL", "HOW", "DOWNLOADED", "UNPACKED", "PREDICTED", "ERROR"];
    out += &format!("\n{}", table(&header, rows, &[0, 2, 3, 4, 5]));
    out += &format!("\nmodel: {}\n", pull_text(&fit.model));
    if fit.network && fit.model.link_bytes_per_second.is_none() {
        let seen = fit.model.connection_bytes_per_second.unwrap_or(Bytes(0)).0;
        out += &format!(
            "The link was never full: it has at least {} MB/s.\n",
            mb(seen * u64::from(fit.model.connections))
        );
    }
    if !fit.network {
        out += "The network was not measured.\n";
    }
    out
}

/// A bar on a terminal; else a line for each pull.
struct Watch {
    bar: indicatif::ProgressBar,
    line: Mutex<String>,
}

impl Watch {
    fn new() -> Self {
        // It draws on stderr, and only if that is a terminal.
        let bar = indicatif::ProgressBar::new(0);
        let style = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}";
        let style = indicatif::ProgressStyle::with_template(style);
        bar.set_style(
            style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()).progress_chars("=> "),
        );
        Self { bar, line: Mutex::new(String::new()) }
    }

    fn show(&self, event: Progress) {
        match event {
            Progress::Begin { pull, of, connections, bytes, layers } => {
                let how = match connections {
                    0 => "from the layout".to_owned(),
                    1 => "1 connection".to_owned(),
                    k => format!("{k} connections"),
                };
                let line = format!("pull {} of {of}, {how}, {layers} layers", pull + 1);
                self.bar.reset();
                self.bar.set_length(bytes);
                self.bar.set_message(line.clone());
                *self.line.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = line;
            }
            Progress::Downloaded(bytes) => self.bar.inc(bytes),
            Progress::Unpacked => self.bar.tick(),
            Progress::End(seconds) => {
                if self.bar.is_hidden() {
                    let line = self.line.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    console::remark(&format!("{line}: {seconds:.2} s"));
                }
            }
        }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
