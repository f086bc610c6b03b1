"""Drives the service's page in a headless Chromium, as its users do.

    python crates/serve/tests/page/page.py target/debug/alexnet-vgg-serve

It starts the program, which serves the digits network if no other is named, and takes its samples as the pictures whose
labels are known. Needs Debian's packages chromium and chromium-driver.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 20  # seconds, for one thing to appear on a busy machine
HOSTNAME = "pictures.example"  # leads to this machine, but is no loopback address
MEGABYTES_40 = 40_000_000

# Text whose contrast with what is behind it is below WCAG's 4.5, or 3 for large text.
LOW_CONTRAST = """
const channels = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
const luminance = (color) => {
  const [r, g, b] = channels(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if ((channels(color)[3] ?? 1) === 1) return color;
  }
  return "rgb(255, 255, 255)";
};
const found = [];
let seen = 0;
for (const element of document.body.querySelectorAll("*")) {
  const words = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
  if (!words.length || !element.checkVisibility() || element.closest(".unseen, .skip, template, option")) continue;
  const style = getComputedStyle(element);
  const [light, dark] = [luminance(style.color), luminance(behind(element))].sort((a, b) => b - a);
  const contrast = (light + 0.05) / (dark + 0.05);
  seen += 1;
  if (contrast < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) found.push(`${words[0].data.trim()}: ${contrast.toFixed(2)}`);
}
return [seen, found];
"""

# What the browser does when files are dropped on the page, or pasted into it.
HAND_OVER = """
const [kind, files] = arguments;
const transfer = new DataTransfer();
for (const [name, base64] of files) {
  transfer.items.add(new File([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], name, { type: "image/png" }));
}
document.body.dispatchEvent(kind === "paste"
  ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
  : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true }));
"""

# The page of another server's making: it believes that a billion bytes are welcome.
NO_LIMIT = """
const ask = window.fetch;
window.fetch = async (path, options) => {
  const response = await ask(path, options);
  if (path !== "/v1/models") return response;
  return Response.json({ ...await response.json(), limits: { body_bytes: 1e9 } });
};
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Service:
    """The program, serving until it is stopped."""

    def __init__(self, command):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = tempfile.TemporaryFile("w+")
        address = ["--addr", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen([*command, *address], stdout=self.log, stderr=subprocess.STDOUT)

    def is_ready(self, _=None):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise AssertionError(f"the program ended with {self.process.returncode}: {self.log.read()}")
        try:
            return self.get("readyz") is not None
        except (urllib.error.URLError, ConnectionError):
            return False

    def get(self, path):
        with urllib.request.urlopen(self.url + path.lstrip("/"), timeout=PATIENCE) as response:
            return response.read()

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.log.close()


def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1280,900",
                     "--force-prefers-reduced-motion", f"--host-resolver-rules=MAP {HOSTNAME} 127.0.0.1"]:
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium's sandbox refuses to run for root.
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


class Page(unittest.TestCase):
    command = []

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.service = Service(cls.command)
        cls.addClassCleanup(cls.service.stop)
        WebDriverWait(cls.service, PATIENCE, 0.05).until(cls.service.is_ready)
        cls.samples = json.loads(cls.service.get("v1/samples"))["samples"]
        for sample in cls.samples:
            (cls.folder / sample["name"]).write_bytes(cls.service.get(sample["url"]))
        (cls.folder / "broken.png").write_bytes(b"this is no picture")
        with open(cls.folder / "huge.png", "wb") as huge:
            huge.truncate(MEGABYTES_40)
        cls.driver = browser()
        cls.addClassCleanup(cls.driver.quit)

    def setUp(self):
        self.assertGreaterEqual(len(self.samples), 3, "expected pictures whose labels are known")
        self.open()

    def tearDown(self):
        refused = [entry["message"] for entry in self.driver.get_log("browser")
                   if "Content Security Policy" in entry["message"] or "Uncaught" in entry["message"]]
        self.assertEqual(refused, [])

    # What a user does, and sees.

    def open(self, host="127.0.0.1"):
        self.driver.get(f"http://{host}:{self.service.port}/")
        self.until(lambda: self.all("#sample-list button img"), "samples")

    def until(self, condition, what):
        return WebDriverWait(self.driver, PATIENCE, 0.05).until(lambda _: condition(), f"expected {what}")

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        return [element.text for element in self.all(selector) if element.is_displayed()]

    def choose(self, *names):
        self.one("#files").send_keys("\n".join(str(self.folder / name) for name in names))

    def answers(self, count):
        """The best labels, by the picture's name, as soon as all pictures have answers or messages."""
        self.until(lambda: len(self.all("article[aria-busy=false]")) == count, f"{count} answers")
        cards = self.all("article")
        self.assertEqual(len(cards), count)
        best = {}
        for card in cards:
            labels = [label.text for label in card.find_elements(By.CSS_SELECTOR, ".label")]
            problem = card.find_element(By.CSS_SELECTOR, ".problem").text
            best[card.find_element(By.CSS_SELECTOR, "h3").text] = problem or labels[0]
        return best

    def expect_heat_map(self):
        heat = self.one(".heat")
        self.until(lambda: heat.is_displayed() and heat.get_property("naturalWidth") > 0, "the heat map drawn")
        self.assertEqual(heat.rect, self.one(".photo").rect)
        return heat

    @contextmanager
    def window(self, width, height):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    # The tests.

    def test_every_sample_gets_its_label(self):
        for button in self.all("#sample-list button"):
            button.click()
        found = self.answers(len(self.samples))
        self.assertEqual(found, {sample["name"]: sample["label"] for sample in self.samples})
        self.assertEqual(len(self.all(".verdict b")), len(self.samples))
        self.assertTrue(all(verdict.startswith("✓ Right") for verdict in self.text(".verdict")))

    def test_a_chosen_picture_gets_its_label_and_a_heat_map(self):
        sample = self.samples[0]
        self.choose(sample["name"])
        self.assertEqual(self.answers(1), {sample["name"]: sample["label"]})
        heat = self.expect_heat_map()
        self.assertIn(sample["label"], heat.get_attribute("alt"))
        self.assertRegex(self.one(".labels li:first-child .percent").text, r"^\d+\.\d%$")
        self.assertRegex(self.one(".time .total").text, r"^[\d.]+ ms in all")
        self.assertIn("decode", self.one(".time dl").text)
        self.assertRegex(self.one("#spoken").get_attribute("textContent"), rf"^{sample['name']}: {sample['label']}, ")

        self.one("#heat-maps").click()
        self.until(lambda: not heat.is_displayed(), "no heat map when none is wanted")
        self.assertEqual(self.answers(1), {sample["name"]: sample["label"]})
        for option in self.all("#views option"):
            if option.get_attribute("value") == "flips":
                option.click()
        self.until(lambda: any("of the views agree" in verdict for verdict in self.text(".verdict")), "agreement")

    def test_pictures_are_dropped_and_pasted(self):
        files = [[sample["name"], base64.b64encode((self.folder / sample["name"]).read_bytes()).decode()]
                 for sample in self.samples[:3]]
        self.driver.execute_script(HAND_OVER, "dragenter", files[:1])
        self.until(lambda: self.all(".dragging"), "the page to say that it takes the picture")
        self.driver.execute_script(HAND_OVER, "drop", files[:2])
        self.driver.execute_script(HAND_OVER, "paste", files[2:])
        self.assertEqual(self.answers(3), {sample["name"]: sample["label"] for sample in self.samples[:3]})
        self.assertEqual(self.all(".dragging"), [])

    def test_a_broken_file_gets_its_message_and_the_others_their_answers(self):
        sample = self.samples[1]
        self.choose("broken.png", sample["name"])
        found = self.answers(2)
        self.assertEqual(found[sample["name"]], sample["label"])
        title, detail = found["broken.png"].split("\n", 1)
        self.assertGreater(len(title), 5)
        self.assertRegex(detail, "(?i)expected|picture|image")
        self.assertIn("1 without an answer", self.one("#tally").text)

    def test_40_megabytes_are_refused_in_words_before_and_after_they_are_sent(self):
        self.choose("huge.png")
        said = self.answers(1)["huge.png"]
        self.assertRegex(said, r"too large\n.*40\.0 MB.*at most [\d.]+ MB")
        sent = "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('classify')).length"
        self.assertEqual(self.driver.execute_script(sent), 0)

        command = "Page.addScriptToEvaluateOnNewDocument"
        script = self.driver.execute_cdp_cmd(command, {"source": NO_LIMIT})
        try:
            self.open()
        finally:
            self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
        self.choose("huge.png")
        said = self.answers(1)["huge.png"]
        self.assertRegex(said, r"(?i)large|limit|at most")
        self.assertEqual(self.driver.execute_script(sent), 1)

    def test_the_keyboard_is_enough(self):
        def press(key):
            ActionChains(self.driver).send_keys(key).perform()

        def tab_to(selector):
            target = self.one(selector)
            for _ in range(60):
                press(Keys.TAB)
                if self.driver.switch_to.active_element == target:
                    # The ring is around the element, or around what is drawn in its stead.
                    ring = ("const at = arguments[0]; return [at, at.closest('label'), at.nextElementSibling]"
                            ".some((it) => it && parseFloat(getComputedStyle(it).outlineWidth) >= 2)")
                    self.assertTrue(self.driver.execute_script(ring, target), f"no focus ring: {selector}")
                    return
            self.fail(f"the Tab key does not lead to {selector}")

        tab_to("#files")
        tab_to("#sample-list li:nth-child(3) button")
        press(Keys.ENTER)
        sample = self.samples[2]
        self.assertEqual(self.answers(1), {sample["name"]: sample["label"]})
        heat = self.expect_heat_map()
        before = float(heat.value_of_css_property("opacity"))
        tab_to(".strength input")
        press(Keys.HOME)
        self.assertGreater(before, 0.3)
        self.assertEqual(float(heat.value_of_css_property("opacity")), 0)
        press(Keys.END)
        self.assertEqual(float(heat.value_of_css_property("opacity")), 1)
        tab_to(".remove")
        press(Keys.ENTER)
        self.assertEqual(self.all("article"), [])
        self.assertFalse(self.one("#results").is_displayed())
        self.assertEqual(self.driver.switch_to.active_element, self.one("#files"))

    def test_both_themes_can_be_read_and_the_choice_is_kept(self):
        self.choose("broken.png", self.samples[0]["name"])
        self.answers(2)
        backgrounds = set()
        for theme in ["light", "dark"]:
            self.one(f"input[name=theme][value={theme}] + span").click()
            backgrounds.add(self.one("body").value_of_css_property("background-color"))
            seen, low = self.driver.execute_script(LOW_CONTRAST)
            self.assertGreater(seen, 20)
            self.assertEqual(low, [], theme)
        self.assertEqual(len(backgrounds), 2)
        self.open()
        self.assertTrue(self.one("input[value=dark]").is_selected())
        self.assertIn(self.one("body").value_of_css_property("background-color"), backgrounds)
        self.one("input[value=auto] + span").click()

    def test_a_phone_shows_all_of_it_and_every_control_has_a_name(self):
        with self.window(390, 844):
            self.open()
            self.choose("broken.png", *(sample["name"] for sample in self.samples[:3]))
            self.answers(4)
            wide = self.driver.execute_script("return document.documentElement.scrollWidth")
            self.assertLessEqual(wide, 390)
            controls = [control for control in self.all("button, input, select, a") if control.is_displayed()]
            self.assertGreater(len(controls), 10)
            for control in controls:
                self.assertTrue(control.accessible_name.strip(), control.get_attribute("outerHTML"))

    def test_it_says_where_pictures_go(self):
        self.assertEqual(self.one("#privacy").text, "Pictures never leave this machine.")
        self.open(HOSTNAME)
        said = self.one("#privacy").text
        self.assertIn(f"sent to {HOSTNAME}", said)
        self.assertIn("not encrypted", said)

    def test_a_server_that_is_gone_is_said_in_words(self):
        other = Service(self.command)
        try:
            WebDriverWait(other, PATIENCE, 0.05).until(other.is_ready)
            self.driver.get(other.url)
            self.until(lambda: self.all("#sample-list button img"), "samples")
        finally:
            self.assertEqual(other.stop(), 0)
        self.choose(self.samples[0]["name"])
        self.assertIn("does not answer", self.answers(1)[self.samples[0]["name"]])
        self.assertTrue(self.one(".again").is_displayed())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("expected the program to test, such as target/debug/alexnet-vgg-serve")
    Page.command = sys.argv[1:]
    unittest.main(argv=sys.argv[:1], verbosity=2)
