//! The page in Debian's chromium, by way of its driver.

#[path = "support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::http::StatusCode;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use service_registry_gateway::Gateway;

use support::{Api, heal, start, still, until};

/// A browser, and its driver, which ends with the test.
struct Browser {
    client: Client,
    driver: Child,
    port: String,
}

impl Browser {
    /// `None` where there is none, which is told.
    async fn open(width: u32) -> Option<Browser> {
        let driver = program("CHROMEDRIVER", &["/usr/bin/chromedriver"]);
        let known = [
            "/usr/bin/chromium",
            "/usr/bin/chromium-browser",
            "/usr/bin/google-chrome",
        ];
        let (Some(driver), Some(chromium)) = (driver, program("CHROMIUM", &known)) else {
            eprintln!(
                "SKIPPED: no chromium with a driver here; apt-get install chromium chromium-driver, \
                 or name them in CHROMIUM and CHROMEDRIVER"
            );
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the driver starts");
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let port = port.expect("it says its port");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let metrics = json!({"width": width, "height": 900, "pixelRatio": 1, "mobile": false});
        let options = json!({
            "binary": chromium, "args": arguments, "mobileEmulation": {"deviceMetrics": metrics},
        });
        let capabilities = Capabilities::from_iter([("goog:chromeOptions".to_owned(), options)]);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("chromium starts");
        Some(Browser {
            client,
            driver,
            port,
        })
    }

    async fn goto(&self, api: &Api) {
        self.client
            .goto(&format!("http://{}/", api.address))
            .await
            .unwrap();
    }

    async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Waits until a script answers with true.
    async fn sees(&self, script: &str) {
        let script = format!("return {script}");
        until(&script, async || self.run(&script).await == true).await;
    }

    async fn click(&self, selector: &str) {
        let found = self.client.find(Locator::Css(selector)).await.unwrap();
        found.click().await.unwrap();
    }
}

impl Drop for Browser {
    /// Also where the test has failed: a driver that is killed leaves its browser behind, so it is
    /// asked to shut down first.
    fn drop(&mut self) {
        let shut_down = || {
            let mut driver = TcpStream::connect(format!("127.0.0.1:{}", self.port))?;
            driver.set_read_timeout(Some(Duration::from_secs(10)))?;
            driver.write_all(b"GET /shutdown HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            driver.read_to_end(&mut Vec::new())
        };
        let _ = shut_down();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn program(variable: &str, known: &[&str]) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let mut paths = named.into_iter().chain(known.iter().map(PathBuf::from));
    paths.find(|path| path.exists())
}

async fn healthy(gateway: &Gateway, api: &Api, pods: &[&str]) -> Vec<String> {
    let mut leases = Vec::new();
    for pod in pods {
        let pod = json!({"service_name": "cart", "pod_name": pod, "subscriptions": ["redis"]});
        leases.push(api.register(pod).await);
    }
    let keys: Vec<String> = pods.iter().map(|pod| format!("cart:{pod}")).collect();
    heal(
        gateway,
        &keys.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    leases
}

const ROWS: &str = "[...document.querySelectorAll('.pod')].map(row => row.dataset.key).join()";
const TICKER: &str = "document.querySelector('#ticker').textContent";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_follows_the_registry() {
    let Some(browser) = Browser::open(1280).await else {
        return;
    };
    let (gateway, api) = start(still()).await;
    let leases = healthy(&gateway, &api, &["one", "two", "three"]).await;
    browser.goto(&api).await;
    browser
        .sees(&format!("{ROWS} === 'cart:one,cart:three,cart:two'"))
        .await;
    browser
        .sees("document.querySelector('#total-healthy').textContent === '3'")
        .await;
    browser
        .sees("document.querySelector('#link').textContent === 'live'")
        .await;
    // Who listens to whom.
    browser
        .sees("document.querySelectorAll('.node').length === 2")
        .await;
    browser
        .sees("document.querySelectorAll('#graph > svg > path').length === 1")
        .await;

    // A pod goes.
    assert_eq!(api.delete(&leases[2]).await.status, StatusCode::NO_CONTENT);
    browser
        .sees(&format!("{ROWS} === 'cart:one,cart:two'"))
        .await;
    browser
        .sees(&format!("{TICKER}.includes('cart:threeunregistered')"))
        .await;

    // One is drained by a click, and the other one killed.
    let row = |pod: &str, part: &str| format!("[data-key=\"cart:{pod}\"] {part}");
    browser.click(&row("one", ".drain")).await;
    browser
        .sees(&format!("{TICKER}.includes('cart:onehealthy → draining')"))
        .await;
    assert_eq!(api.put(&leases[0]).await.json()["status"], "draining");
    browser
        .sees(&format!(
            "document.querySelector('{}').textContent === 'draining'",
            row("one", ".status")
        ))
        .await;
    browser
        .sees(&format!(
            "document.querySelector('{}').disabled",
            row("one", ".drain")
        ))
        .await;
    browser.click(&row("two", ".kill")).await;
    browser.sees(&format!("{ROWS} === 'cart:one'")).await;
    assert_eq!(api.put(&leases[1]).await.status, StatusCode::GONE);

    // The gateway stops, and comes back with others.
    gateway.stop().await.unwrap();
    browser
        .sees("document.querySelector('#link').textContent === 'not connected'")
        .await;
    let options = service_registry_gateway::Options {
        listen: Some(api.address),
        ..still()
    };
    let (gateway, api) = start(options).await;
    healthy(&gateway, &api, &["four"]).await;
    browser.sees(&format!("{ROWS} === 'cart:four'")).await;
}

/// Names that would run if they became markup, or break what is around them.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_others_are_inert() {
    let hostile = [
        "<img src=x onerror=\"window.ran=1\">".to_owned(),
        "</script><script>window.ran=1</script>".to_owned(),
        "\"'><svg onload=window.ran=1>".to_owned(),
        "x".repeat(200),
        "\u{202e}txet desrever \u{2066}".to_owned(),
        "Z\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}a\u{301} 漢字 👩‍👩‍👧‍👦".to_owned(),
        "__proto__".to_owned(),
        "constructor".to_owned(),
        "javascript&#58;alert(1)".to_owned(),
    ];
    for width in [390, 1280] {
        let Some(browser) = Browser::open(width).await else {
            return;
        };
        let (gateway, api) = start(still()).await;
        for name in &hostile {
            let pod = json!({
                "service_name": name, "pod_name": name, "zone": name, "subscriptions": hostile,
                "metadata": {name: name},
            });
            api.register(pod).await;
            heal(&gateway, &[&format!("{name}:{name}")]);
        }
        browser.goto(&api).await;
        let count = hostile.len();
        browser
            .sees(&format!(
                "document.querySelectorAll('.pod').length === {count}"
            ))
            .await;
        browser
            .sees(&format!(
                "document.querySelectorAll('.node').length === {count}"
            ))
            .await;
        for name in &hostile {
            let script = "return [...document.querySelectorAll('.pod-name')].some(found => found.textContent === arguments[0])";
            let shown = browser
                .client
                .execute(script, vec![json!(name)])
                .await
                .unwrap();
            assert_eq!(shown, true, "{name}");
        }
        // What was sent is text: there are no elements but those of the page.
        assert_eq!(browser.run("return window.ran === undefined").await, true);
        let made =
            "return document.querySelectorAll('img, body script, svg[onload], iframe').length";
        assert_eq!(browser.run(made).await, 0);
        let markup = "try { document.body.innerHTML = '<b>'; return 'made' } catch (error) { return error.name }";
        assert_eq!(
            browser.run(markup).await,
            "TypeError",
            "the policy of the page"
        );
        // Nothing is wider than the window, and every button can be reached.
        let wide = "return document.documentElement.scrollWidth - window.innerWidth";
        assert!(browser.run(wide).await.as_f64().unwrap() <= 0.0, "{width}");
        let narrow = "return [...document.querySelectorAll('.pod button, .node')].every(found => {
            const { left, right, width } = found.getBoundingClientRect();
            return width > 20 && left >= 0 && right <= window.innerWidth;
        })";
        assert_eq!(browser.run(narrow).await, true, "{width}");
        let path = "[data-key=\"__proto__:__proto__\"] .drain";
        browser.click(path).await;
        let status = async || api.statuses("__proto__").await[0].1.clone();
        until("it drains", async || status().await == "draining").await;
    }
}
