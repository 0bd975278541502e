"use strict";
const SHEET = JSON.parse(document.getElementById("sheet").textContent);
const CLIPS = JSON.parse(document.getElementById("clips").textContent);
const ASKED = {
  sync: "Sync: do the lips move with the sound?",
  quality: "Quality: is the picture clean and real?",
  overall: "Overall: does it convince?",
  better: "Better: which of the two would you rather show?",
};
const ALONE = !document.getElementById("report").childElementCount; // no results on this page
const SIDES = ["left", "right"];
const CHOICE = { side: null, question: "better" }; // between the two, after both are marked
const STEPS = [...SIDES.flatMap((side) => SHEET.questions.map((question) => ({ side, question }))), CHOICE];

const bytes = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const urls = new Map();
function clipUrl(id) {
  if (!urls.has(id)) urls.set(id, URL.createObjectURL(new Blob([bytes(CLIPS[id])], { type: "video/mp4" })));
  return urls.get(id);
}
for (const player of document.querySelectorAll("video[data-clip]")) player.src = clipUrl(player.dataset.clip);

// ------------------------------------------------------------------------------------------------------------------
// Answers: {judge, order: [pair], swapped: {pair: bool}, pair, step,
//   answers: {pair: {left: {sync: 4, at: time}, right: {}, better: "left", at: time}}}

const STORE = `lipgan_keras judging ${SHEET.id}`;
let all = { current: null, judges: {} };
let saved = true;
try {
  all = JSON.parse(localStorage.getItem(STORE)) || all;
} catch {
  saved = false;
}
function save() {
  try {
    localStorage.setItem(STORE, JSON.stringify(all));
    saved = true;
  } catch {
    saved = false;
  }
}
const state = () => all.judges[all.current];
const sideOf = (mine, pair, side) => (mine.answers[pair] ||= {})[side] ||= {};
const given = (mine, pair, { side, question }) => (side ? mine.answers[pair]?.[side]?.[question] : mine.answers[pair]?.better);
const complete = (mine, pair) => STEPS.every((step) => given(mine, pair, step));
const clipOf = (mine, pair, side) => Number(side === "right") ^ Number(mine.swapped[pair]); // the first or second of the two

function begin(judge) {
  if (!Object.hasOwn(all.judges, judge)) {
    const order = [...SHEET.pairs];
    const random = (n) => crypto.getRandomValues(new Uint32Array(1))[0] % n;
    for (let i = order.length - 1; i > 0; i--) {
      const j = random(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
    // The sheet has each of two systems on the left equally often; for some judges, by a coin, all pairs are mirrored.
    const mirrored = random(2) === 1;
    const swapped = Object.fromEntries(order.map((pair) => [pair, mirrored]));
    all.judges[judge] = { judge, order, swapped, answers: {}, pair: 0, step: 0 };
  }
  all.current = judge;
  save();
}

function csv(mine) {
  const veil = new TextEncoder().encode(SHEET.id);
  const known = JSON.parse(new TextDecoder().decode(bytes(SHEET.key).map((b, i) => b ^ veil[i % veil.length])));
  const rows = [SHEET.columns];
  mine.order.forEach((pair, position) => {
    const [video, ...clips] = known[pair];
    const better = mine.answers[pair]?.better;
    // Of the last answer to the pair, so that both rows are replaced together by a later file's.
    const parts = [mine.answers[pair], ...SIDES.map((side) => mine.answers[pair]?.[side])];
    const answered = parts.map((part) => part?.at ?? "").sort().at(-1);
    for (const side of SIDES) {
      const marks = mine.answers[pair]?.[side] ?? {};
      if (!better && !SHEET.questions.some((question) => marks[question])) continue;
      const [name, system] = clips[clipOf(mine, pair, side)];
      const row = { judge: mine.judge, pair: video, side, name, system, sheet: SHEET.id, trial: pair };
      Object.assign(row, { position: position + 1, answered, preferred: better ? Number(better === side) : "" });
      for (const question of SHEET.questions) row[question] = marks[question] ?? "";
      rows.push(SHEET.columns.map((column) => row[column]));
    }
  });
  // A name that begins as a formula does would be run by a spreadsheet.
  const plain = (value) => (/^[=+\-@\t\r]/.test(value) ? `'${value}` : value);
  const quoted = (value) => (/[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const cell = (value) => quoted(plain(value));
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv(state())], { type: "text/csv" }));
  link.download = `answers_${all.current.replace(/[^\p{L}\p{N}_-]+/gu, "_")}_${SHEET.id}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ------------------------------------------------------------------------------------------------------------------
// The sheet: who are you, pair by pair, the end

const root = document.getElementById("judge");
let view = null;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
const button = (label, onclick, className = "plain") => element("button", { type: "button", onclick, className }, label);
const done = (mine) => mine.order.filter((pair) => complete(mine, pair)).length;
const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

function show(name, title, ...children) {
  view = name;
  const heading = element("h1", { tabIndex: -1 }, title);
  root.replaceChildren(heading, ...children);
  if (!ALONE && name !== "pair") root.append(element("p", {}, element("a", { href: "#" }, "To the report")));
  if (!saved) root.append(element("p", { className: "said" }, "This browser keeps no answers for this page: export them before you leave it."));
  heading.focus({ preventScroll: true });
}

function showStart() {
  const name = element("input", { type: "text", name: "judge", required: true, maxLength: 60, autocomplete: "off", value: all.current ?? "" });
  const form = element("form", {}, element("label", {}, "Your name or initials ", name), button("Begin", null, ""));
  form.querySelector("button").type = "submit";
  form.onsubmit = (event) => {
    event.preventDefault();
    if (!name.value.trim()) return;
    begin(name.value.trim());
    showPair(true);
  };
  const keys = element("p");
  keys.innerHTML =
    "Keys: <kbd>1</kbd> to <kbd>5</kbd> mark, <kbd>1</kbd> and <kbd>2</kbd> choose the left and the right clip, <kbd>Space</kbd> plays the clip in question again, or both where you choose, <kbd>←</kbd> and <kbd>→</kbd> play " +
    "the left and the right one, <kbd>Backspace</kbd> goes back by one question.";
  const some = SHEET.of > SHEET.pairs.length ? `, drawn from ${SHEET.of}` : "";
  show(
    "start", "Judge by hand",
    element("p", {}, `${count(SHEET.pairs.length, "pair")} of clips${some}. Either or both may be synthetic. For each clip give ` +
      "three marks: sync, quality and overall. Then choose the better one. Wear headphones, and look at the lips."),
    element("p", {}, "Marks: " + SHEET.scale.map((word, i) => `${i + 1} ${word}`).join(", ") + "."),
    keys,
    element("p", {}, "The answers stay in this browser, also when the page is loaded again. At the end, export them and hand in the file."),
    form,
  );
}

function player(side) {
  return root.querySelector(`.side[data-side="${side}"] video`);
}
function play(side, both = false) {
  for (const each of SIDES) player(each)?.pause();
  const video = player(side);
  if (!video) return;
  video.onended = both ? () => play("right") : null;
  video.currentTime = 0;
  video.play().catch(() => {}); // browsers wait for a first key or click
}

/** A question with its possible answers: [value, what is shown, what it means]. */
function choices({ side, question }, name, answers) {
  const marks = answers.map(([value, label, title]) => {
    const input = element("input", { type: "radio", name, value, onchange: () => mark(side, question, value) });
    return element("label", { title }, input, element("span", {}, label));
  });
  const field = element("fieldset", {}, element("legend", {}, ASKED[question] ?? question), element("div", { className: "marks" }, ...marks));
  Object.assign(field.dataset, { side: side ?? "", question });
  return field;
}

function showPair(playing) {
  const mine = state();
  if (mine.pair >= mine.order.length) return showEnd();
  const pair = mine.order[mine.pair];
  for (const [id, url] of urls) {
    if (id.startsWith("case") || id.startsWith(pair)) continue;
    URL.revokeObjectURL(url);
    urls.delete(id);
  }
  const sides = SIDES.map((side) => {
    const video = element("video", {
      playsInline: true, preload: "auto", src: clipUrl(pair + clipOf(mine, pair, side)), onclick: () => play(side),
    });
    video.setAttribute("aria-label", `${side} clip`);
    const fields = SHEET.questions.map((question) =>
      choices({ side, question }, `${side} ${question}`, SHEET.scale.map((word, i) => [i + 1, String(i + 1), word])));
    const section = element("section", { className: "side" });
    section.dataset.side = side;
    section.setAttribute("aria-label", `${side} clip`);
    section.append(element("h2", {}, side === "left" ? "Left" : "Right", button("Play", () => play(side))), video, ...fields);
    return section;
  });
  const bar = element("progress", { max: mine.order.length, value: done(mine) });
  bar.setAttribute("aria-label", "pairs judged");
  const asked = element("p", { id: "asked" });
  asked.setAttribute("aria-live", "polite");
  show(
    "pair", `Pair ${mine.pair + 1} of ${mine.order.length}`,
    element("div", { className: "bar-row" }, element("div", { className: "grow" }, bar), button("Back", back), button("Next", next),
      button("Export so far", download)),
    asked,
    element("div", { className: "sides" }, ...sides),
    choices(CHOICE, "better", SIDES.map((side, i) => [side, side === "left" ? "Left" : "Right", `key ${i + 1}`])),
  );
  refresh();
  if (playing) play(STEPS[mine.step].side);
}

function refresh() {
  const mine = state();
  const pair = mine.order[mine.pair];
  const now = STEPS[mine.step];
  for (const field of root.querySelectorAll("fieldset")) {
    const { side, question } = field.dataset;
    const answer = given(mine, pair, { side, question });
    for (const input of field.querySelectorAll("input")) input.checked = input.value === String(answer);
    field.classList.toggle("now", side === (now.side ?? "") && question === now.question);
  }
  for (const section of root.querySelectorAll(".side")) section.classList.toggle("now", section.dataset.side === now.side);
  root.querySelector("#asked").textContent = now === CHOICE
    ? `Both clips. ${ASKED.better} Press 1 (left) or 2 (right).`
    : `${now.side === "left" ? "Left" : "Right"} clip. ${ASKED[now.question] ?? now.question} Press 1 (${SHEET.scale[0]}) to 5 (${SHEET.scale[4]}).`;
  const [goBack, goOn] = root.querySelectorAll(".bar-row button");
  goBack.disabled = mine.pair === 0 && mine.step === 0;
  goOn.disabled = !complete(mine, pair);
}

function mark(side, question, value) {
  const mine = state();
  const pair = mine.order[mine.pair];
  if (side) Object.assign(sideOf(mine, pair, side), { [question]: value, at: new Date().toISOString() });
  else Object.assign((mine.answers[pair] ||= {}), { better: value, at: new Date().toISOString() });
  const step = STEPS.findIndex((each) => each.side === side && each.question === question);
  const before = STEPS[mine.step].side;
  if (step < STEPS.length - 1) {
    mine.step = step + 1;
  } else if (!complete(mine, pair)) {
    mine.step = STEPS.findIndex((each) => !given(mine, pair, each));
  } else {
    mine.pair += 1;
    mine.step = 0;
    save();
    return showPair(true);
  }
  save();
  refresh();
  if (STEPS[mine.step].side && STEPS[mine.step].side !== before) play(STEPS[mine.step].side);
}

function back() {
  const mine = state();
  if (mine.step > 0) mine.step -= 1;
  else if (mine.pair > 0) {
    mine.pair -= 1;
    mine.step = STEPS.length - 1;
    save();
    return showPair(true);
  }
  save();
  refresh();
}

function next() {
  const mine = state();
  mine.pair += 1;
  mine.step = 0;
  save();
  showPair(true);
}

function showEnd() {
  const mine = state();
  show(
    "end", "All pairs are judged",
    element("p", {}, `Thank you, ${mine.judge}: ${count(done(mine), "pair")}. Export the answers and hand in the file.`),
    element("div", { className: "bar-row" }, button("Export answers as CSV", download, ""), button("Back", back),
      button("Another judge", () => { all.current = null; save(); showStart(); })),
  );
}

document.addEventListener("keydown", (event) => {
  if (root.hidden || view !== "pair" || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const now = STEPS[state().step];
  const onButton = event.target instanceof HTMLButtonElement;
  if (now === CHOICE && /^[12]$/.test(event.key)) mark(null, now.question, SIDES[Number(event.key) - 1]);
  else if (now !== CHOICE && /^[1-5]$/.test(event.key)) mark(now.side, now.question, Number(event.key));
  else if (event.key === " " && !onButton) play(now.side ?? "left", now === CHOICE);
  else if (event.key === "ArrowLeft") play("left");
  else if (event.key === "ArrowRight") play("right");
  else if (event.key === "Backspace") back();
  else return;
  event.preventDefault();
});

function route() {
  const report = document.getElementById("report");
  const judging = SHEET.pairs.length > 0 && (ALONE || location.hash === "#judge");
  for (const video of document.querySelectorAll("video")) video.pause();
  report.hidden = judging;
  root.hidden = !judging;
  if (!judging) return;
  if (state()) showPair(false);
  else showStart();
}
addEventListener("hashchange", route);
route();
