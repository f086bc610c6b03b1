"use strict";

const picture = document.getElementById("picture");
const answer = document.getElementById("answer");

picture.addEventListener("change", async () => {
  const response = await fetch("/v1/classify", { method: "POST", body: picture.files[0],
    headers: { "Content-Type": "application/octet-stream" } });
  const json = await response.json();
  const lines = response.ok
    ? json.results[0].predictions.map((it) => `${it.label}: ${(100 * it.probability).toFixed(1)} %`)
    : [`${json.title}: ${json.detail}`];
  answer.replaceChildren(...lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    return item;
  }));
});
