//! The report in a real browser: headless Chromium, driven by the WebDriver protocol. Skipped with a message where there is none,
//! unless `THAWLINE_REQUIRE_BROWSER` is set, as `.ci/run` does.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A browser session; the driver ends with it.
struct Browser {
    driver: Child,
    session: String,
    _profile: tempfile::TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.session).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn post(url: &str, body: &Value) -> Value {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent: ureq::Agent = config.into();
    let mut response =
        agent.post(url).header("content-type", "application/json").send(body.to_string()).unwrap();
    let answer: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
    assert!(answer["value"].get("error").is_none(), "{url}: {answer}");
    answer["value"].clone()
}

impl Browser {
    /// `None` where there is no browser.
    fn start() -> Option<Self> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.find_map(|line| {
            let line = line.ok()?;
            let port = line.split("successfully on port ").nth(1)?.trim_end_matches('.').to_owned();
            port.parse::<u16>().ok()
        })?;
        // Whatever else the driver says must not fill its pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let directory = format!("--user-data-dir={}", profile.path().display());
        let flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
                     --disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars --force-device-scale-factor=1";
        let arguments: Vec<&str> = flags.split_whitespace().chain([directory.as_str()]).collect();
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let server = format!("http://127.0.0.1:{port}/session");
        let session = format!("{server}/{}", post(&server, &wanted)["sessionId"].as_str().unwrap());
        Some(Self { driver, session, _profile: profile })
    }

    fn send(&self, command: &str, body: &Value) -> Value {
        post(&format!("{}/{command}", self.session), body)
    }

    fn open(&self, file: &Path, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.protocol("Emulation.setDeviceMetricsOverride", &size);
        self.send("url", &json!({ "url": format!("file://{}", file.display()) }));
    }

    fn protocol(&self, command: &str, parameters: &Value) {
        self.send("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// What a script returns.
    fn run(&self, script: &str) -> Value {
        self.send("execute/sync", &json!({ "script": script, "args": [] }))
    }

    fn text(&self, id: &str) -> String {
        self.run(&format!("return document.getElementById('{id}').textContent")).as_str().unwrap().to_owned()
    }

    fn element(&self, selector: &str) -> String {
        let found = self.send("element", &json!({ "using": "css selector", "value": selector }));
        let (_, id) = found.as_object().unwrap().iter().next().unwrap();
        format!("element/{}", id.as_str().unwrap())
    }

    /// Scrolls there and clicks, as a hand would.
    fn click(&self, selector: &str) {
        self.send(&format!("{}/click", self.element(selector)), &json!({}));
    }

    fn keys(&self, selector: &str, keys: &str) {
        self.send(&format!("{}/value", self.element(selector)), &json!({ "text": keys }));
    }

    fn errors(&self) -> Vec<String> {
        let log = self.send("se/log", &json!({ "type": "browser" }));
        let severe = |entry: &&Value| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING"));
        log.as_array().unwrap().iter().filter(severe).map(Value::to_string).collect()
    }

    /// The whole page, or one part of it, as a PNG, to be looked at.
    fn picture(&self, path: &Path, part: Option<&str>) {
        let part = part.unwrap_or("html");
        let place = self.run(&format!(
            "const r = document.querySelector('{part}').getBoundingClientRect();
             return [r.left + scrollX, r.top + scrollY, r.width, r.height]"
        ));
        let clip = json!({ "x": place[0], "y": place[1], "width": place[2], "height": place[3], "scale": 1 });
        let parameters = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let shot =
            self.send("goog/cdp/execute", &json!({ "cmd": "Page.captureScreenshot", "params": parameters }));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, decoded(shot["data"].as_str().unwrap())).unwrap();
    }
}

/// Base64.
fn decoded(text: &str) -> Vec<u8> {
    let value = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|c| *c != b'=').collect();
    let group = |four: &[u8]| {
        let bits =
            four.iter().enumerate().fold(0u32, |bits, (i, c)| bits | u32::from(value(*c)) << (18 - 6 * i));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    letters.chunks(4).flat_map(group).collect()
}

const LEFT: char = '\u{e012}';
const RIGHT: char = '\u{e014}';
const SPACE: &str = " ";

/// Runs a scenario into a folder of its own.
fn report(directory: &Path, scenario: &Path) -> PathBuf {
    let out = directory.join("out");
    let binary = env!("CARGO_BIN_EXE_thawline");
    let mut command = Command::new(binary);
    command.arg("simulate").arg(scenario).args(["--exit-zero", "--set", "replications=2", "--out"]).arg(&out);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out.join("report.html")
}

fn pictures() -> PathBuf {
    root().join("target/report-pictures")
}

#[test]
fn the_report_works_in_a_browser() {
    let Some(browser) = Browser::start() else {
        assert!(
            std::env::var_os("THAWLINE_REQUIRE_BROWSER").is_none(),
            "chromedriver cannot be started (Debian: chromium-driver)"
        );
        eprintln!("no chromedriver here: the report was NOT looked at in a browser");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let page = report(directory.path(), &root().join("scenarios/quickstart.yaml"));
    panels(&browser, &page);
    zoom_and_read(&browser);
    policies_and_stages(&browser);
    replay(&browser);
    widths_and_colours(&browser, &page);
    print_and_no_script(&browser, &page);
    hostile(&browser, directory.path());
}

fn panels(browser: &Browser, page: &Path) {
    browser.open(page, 1200, 900);
    assert_eq!(browser.run("return document.documentElement.dataset.live"), "yes");
    for id in ["gates", "policies", "time", "starts", "latency", "money", "decisions", "assumptions"] {
        let height =
            browser.run(&format!("return document.getElementById('{id}').getBoundingClientRect().height"));
        assert!(height.as_f64().unwrap() > 60.0, "{id}: {height}");
    }
    assert_eq!(browser.run("return document.querySelectorAll('#live-lanes canvas').length"), 6);
    assert_eq!(browser.run("return document.querySelectorAll('svg:not([aria-label])').length"), 0);
    // No picture, button or field without a name for those who do not see it.
    let nameless = "return [...document.querySelectorAll('button, select, input')]
        .filter((e) => !e.textContent.trim() && !(e.labels && e.labels.length)).length";
    assert_eq!(browser.run(nameless), 0);
    assert_eq!(browser.errors(), Vec::<String>::new());
    browser.picture(&pictures().join("desktop.png"), None);
    // What the README shows.
    browser.picture(&pictures().join("sample.png"), Some("#time"));
}

/// How wide the shown time is, by the labels' first and last.
const SHOWN: &str = "return document.querySelector('#live-lanes .u-over').getBoundingClientRect().width";

fn zoom_and_read(browser: &Browser) {
    let before = browser.text("live-read");
    assert!(before.contains("in breach"), "it starts at a breach: {before}");
    // The slider by keyboard.
    browser.keys("#live-at", &RIGHT.to_string().repeat(3));
    let after = browser.text("live-read");
    assert_ne!(before, after);
    assert!(after.contains("arrivals/s") && after.contains("waiting") && after.contains("/h"), "{after}");
    browser.keys("#live-at", &LEFT.to_string().repeat(3));
    assert_eq!(browser.text("live-read"), before);
    // Each band is named by what was missing, and by the stage in which a replica was stuck.
    let stuck = "const at = document.getElementById('live-at'); const found = new Set();
        for (let i = 0; i <= at.max; i++) { at.value = i; at.dispatchEvent(new Event('input'));
        const text = document.getElementById('live-read').textContent; if (text.includes('stuck in')) found.add(text.split('stuck in: ')[1].split(' · ')[0]); }
        return [...found]";
    let stages = browser.run(stuck);
    assert!(stages.as_array().unwrap().iter().any(|stage| stage == "image pull"), "{stages}");
    let canvas = "return document.querySelector('#live-lanes canvas').toDataURL()";
    let (all, shown) = (browser.run(canvas), browser.text("live-shown"));
    browser.click("#zoom-in");
    browser.click("#zoom-in");
    let near = browser.run(canvas);
    assert_ne!(all, near, "zooming changes the picture");
    let nearer = browser.text("live-shown");
    browser.click("#zoom-left");
    assert_ne!(browser.run(canvas), near);
    assert_ne!(browser.text("live-shown"), nearer);
    browser.click("#zoom-all");
    assert_eq!(browser.text("live-shown"), shown);
    // The pointer over a lane reads it, too.
    let width = browser.run(SHOWN).as_f64().unwrap();
    browser.run("document.querySelector('#live-lanes .u-over').scrollIntoView({ block: 'center' })");
    let origin =
        json!({ (element_key()): browser.element("#live-lanes .u-over").trim_start_matches("element/") });
    let moved = json!({ "actions": [{ "type": "pointer", "id": "mouse", "actions": [
        { "type": "pointerMove", "duration": 0, "origin": origin, "x": (-width / 4.0) as i64, "y": 0 },
        { "type": "pointerMove", "duration": 50, "origin": origin, "x": (width / 4.0) as i64, "y": 5 },
        { "type": "pause", "duration": 100 },
    ] }] });
    browser.send("actions", &moved);
    let hovered = browser.text("live-read");
    assert_ne!(hovered, before);
    assert_eq!(browser.errors(), Vec::<String>::new());
}

const fn element_key() -> &'static str {
    "element-6066-11e4-a52e-4f735466cecf"
}

fn policies_and_stages(browser: &Browser) {
    let replicas = "return document.querySelectorAll('#live-lanes canvas')[1].toDataURL()";
    let before = browser.run(replicas);
    // A stage is switched off by keyboard, and on again.
    browser.keys("#live-phases input", SPACE);
    let without = browser.run(replicas);
    assert_ne!(before, without);
    browser.keys("#live-phases input", SPACE);
    assert_eq!(browser.run(replicas), before);
    let other = "const s = document.getElementById('live-policy'); s.value = [...s.options].find((o) => o.value !== s.value).value;
        s.dispatchEvent(new Event('change')); return s.selectedOptions[0].textContent";
    browser.run(other);
    assert_ne!(browser.run(replicas), before);
    assert_eq!(browser.errors(), Vec::<String>::new());
}

fn replay(browser: &Browser) {
    let slide = |value: u32| {
        browser.run(&format!(
            "const s = document.getElementById('replay-at'); s.value = {value}; s.dispatchEvent(new Event('input'))"
        ));
        browser.text("replay-read")
    };
    let (begun, middle, done) = (slide(10), slide(500), slide(1000));
    assert!(
        begun.contains("now: ") && middle.contains("now: ") && done.contains("ready"),
        "{begun}\n{middle}\n{done}"
    );
    assert!(middle.contains("done: ") && done.contains("weights loading"), "{middle}\n{done}");
    browser.click("#replay-play");
    std::thread::sleep(std::time::Duration::from_millis(400));
    let played = browser.run("return Number(document.getElementById('replay-at').value)").as_f64().unwrap();
    assert!(played > 0.0 && played < 1000.0, "it moves: {played}");
    browser.click("#replay-play");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

fn widths_and_colours(browser: &Browser, page: &Path) {
    let scheme = |scheme: &str| {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser.protocol("Emulation.setEmulatedMedia", &json!({ "features": features }));
    };
    let colours = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor,
        getComputedStyle(document.querySelector('#money svg text')).fill]";
    scheme("light");
    let light = browser.run(colours);
    scheme("dark");
    let dark = browser.run(colours);
    for index in 0..3 {
        assert_ne!(light[index], dark[index], "colour {index}");
    }
    browser.open(page, 390, 844);
    browser.picture(&pictures().join("phone-dark.png"), None);
    scheme("light");
    for width in [360, 390, 768, 1200] {
        browser.open(page, width, 844);
        let over = browser.run("return document.documentElement.scrollWidth - innerWidth");
        assert!(over.as_f64().unwrap() <= 0.0, "at {width} the page scrolls sideways by {over}");
    }
    browser.open(page, 390, 844);
    browser.picture(&pictures().join("phone.png"), None);
    assert_eq!(browser.errors(), Vec::<String>::new());
}

fn print_and_no_script(browser: &Browser, page: &Path) {
    let shown = |id: &str| {
        browser.run(&format!("return getComputedStyle(document.getElementById('{id}')).display")) != "none"
    };
    browser.open(page, 1200, 900);
    assert!(shown("live") && !shown("still"));
    browser.protocol("Emulation.setEmulatedMedia", &json!({ "media": "print" }));
    assert!(!shown("live") && shown("still"));
    browser.protocol("Emulation.setEmulatedMedia", &json!({ "media": "" }));
    browser.protocol("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
    browser.open(page, 1200, 900);
    browser.picture(&pictures().join("no-script.png"), None);
    browser.protocol("Emulation.setScriptExecutionDisabled", &json!({ "value": false }));
    assert!(shown("still") && !shown("live"));
    assert!(browser.run("return document.querySelectorAll('#still svg').length").as_u64().unwrap() >= 3);
}

/// Names that are meant to break out of wherever they stand.
fn hostile(browser: &Browser, directory: &Path) {
    let evil = r#""</script><script>window.broken=1</script><img src=x onerror=window.broken=1> ' & \u202Eabc \u05D0""#;
    let text = std::fs::read_to_string(root().join("scenarios/quickstart.yaml")).unwrap();
    let policies = text.find("\npolicies:").unwrap();
    let end = text[policies..].find("\ngates:").map_or(text.len(), |at| policies + at);
    let long = "x".repeat(10_000);
    let hostile = format!(
        "{}\npolicies:\n  {evil}: {{ fixed: {{ replicas: 4 }} }}\n  ? {long}\n  : {{ fixed: {{ replicas: 5 }} }}\ngates: [ slo.breach < 1% ]\n",
        &text[..policies]
    );
    assert!(end <= text.len());
    let scenarios = directory.join("scenarios");
    std::fs::create_dir_all(&scenarios).unwrap();
    let traces = root().join("scenarios").display().to_string();
    let hostile = hostile
        .replace("traces/", &format!("{traces}/traces/"))
        .replace("manifests/", &format!("{traces}/manifests/"));
    let file = scenarios.join("hostile.yaml");
    std::fs::write(&file, hostile).unwrap();
    let page = report(&directory.join("hostile"), &file);
    browser.open(&page, 390, 844);
    assert_eq!(
        browser.run("return window.broken === undefined && document.documentElement.dataset.live"),
        "yes"
    );
    assert_eq!(browser.run("return document.querySelectorAll('script').length"), 3);
    assert_eq!(browser.run("return document.querySelectorAll('img').length"), 0);
    let named = browser.run("return document.querySelector('#gates thead th:nth-child(2)').textContent");
    assert!(named.as_str().unwrap().starts_with("</script><script>window.broken=1"), "{named}");
    let over = browser.run("return document.documentElement.scrollWidth - innerWidth");
    assert!(over.as_f64().unwrap() <= 0.0, "a long name makes the page scroll sideways by {over}");
    assert_eq!(browser.errors(), Vec::<String>::new());
    browser.picture(&pictures().join("hostile.png"), None);
}
