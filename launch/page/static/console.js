// The operator's console in the browser: says what the person does, shows what the server tells. See operator.py.
(() => {
  "use strict";
  const HOLD_WORDS = {
    free: ["Hold to run", "press and hold, or the space bar"],
    mine: ["Running", "let go to pause"],
    other: ["Held elsewhere", "another tab or source holds"],
    lapsed: ["Let go, press again", "the hold was lost"],
    none: ["No connection", "your hold is released"],
  };
  const RESEND_MS = 40, SETTLE_MS = 400, RETRY_MS = 1000, SILENT_MS = 1500, BEAT_EVERY = 5;
  let socket = null, number = 0, hold = "none", pressed = false, state = null, heard = 0;
  const touched = new Map(); // knob -> when a person last moved it
  const waiting = new Map(); // knob -> value that is sent with the next parcel
  let parcel = 0;
  const all = (selector) => document.querySelectorAll(selector);
  const say = (message) => {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };

  // --- connection
  function connect() {
    socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/operator");
    socket.onmessage = (event) => {
      const message = JSON.parse(event.data);
      heard = performance.now();
      number = message.n;
      hold = message.hold;
      if (pressed) say({ held: number });
      else if (number % BEAT_EVERY === 0) say({ beat: number });
      if (message.state) {
        state = message.state;
        show();
      }
      showHold();
    };
    socket.onclose = () => {
      pressed = false;
      hold = "none";
      showHold();
      setTimeout(connect, RETRY_MS);
    };
  }

  // --- hold to run: every way in which a finger can leave the button lets go
  function press() {
    if (pressed || hold === "none") return;
    pressed = true;
    say({ press: number });
  }
  function release() {
    if (!pressed) return;
    pressed = false;
    say({ release: number });
  }
  const typing = (target) => target.closest && target.closest("textarea, input:not([type=range]), select");
  document.addEventListener("pointerdown", (event) => {
    const button = event.target.closest && event.target.closest("[data-vl-hold]");
    if (!button || event.button !== 0) return;
    try { button.setPointerCapture(event.pointerId); } catch { /* the pointer is gone already */ }
    press();
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) document.addEventListener(name, release);
  window.addEventListener("blur", release);
  window.addEventListener("pagehide", release);
  document.addEventListener("visibilitychange", () => { if (document.hidden) release(); });
  document.addEventListener("contextmenu", (event) => {
    if (event.target.closest && event.target.closest("[data-vl-hold]")) event.preventDefault();
    release();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") say({ stop: true });
    if (event.key !== " " || typing(event.target)) return;
    event.preventDefault();
    if (!event.repeat) press();
  }, true);
  document.addEventListener("keyup", (event) => {
    if (event.key !== " ") return;
    if (!typing(event.target)) event.preventDefault();
    release();
  }, true);

  // --- knobs
  function send() {
    parcel = 0;
    if (waiting.size === 0) return;
    say({ set: Object.fromEntries(waiting) });
    waiting.clear();
    parcel = setTimeout(send, RESEND_MS);
  }
  function set(knob, value) {
    touched.set(knob, performance.now());
    waiting.set(knob, value);
    if (!parcel) send();
  }
  document.addEventListener("input", (event) => {
    const knob = event.target.dataset && event.target.dataset.vlSlider;
    if (knob) set(knob, Number(event.target.value));
  });
  function flip(button) {
    const knob = button.dataset.vlSwitch, box = button.closest("[data-vl-knob]");
    touched.delete(knob);
    waiting.delete(knob);
    if (box.dataset.switch === "off") say({ set: { [knob]: null } });
    else say({ reset: knob });
  }

  // --- buttons
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("button");
    if (!button) return;
    if ("vlSwitch" in button.dataset) flip(button);
    else if ("vlRecord" in button.dataset && state) say({ record: !state.recording });
    else if ("vlMark" in button.dataset) say({ mark: "" });
  });
  document.addEventListener("pointerdown", (event) => { // a stop does not wait for the finger to come up
    if (event.target.closest && event.target.closest("[data-vl-stop]")) say({ stop: true });
  });
  document.addEventListener("change", (event) => {
    if (event.target.dataset && "vlPack" in event.target.dataset) say({ pack: event.target.value });
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-vl-say]")) return;
    event.preventDefault();
    const box = event.target.querySelector("textarea");
    say({ say: box.value });
    delete box.dataset.shown;
    box.blur();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || !event.target.matches("[data-vl-say] textarea")) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });

  // --- what is shown
  function put(element, text) { if (element.textContent !== text) element.textContent = text; }
  function showHold() {
    const shown = pressed && hold === "free" ? "free" : hold;
    for (const button of all("[data-vl-hold]")) {
      button.className = "vl-hold " + shown;
      put(button.querySelector("[data-vl-hold-text]"), HOLD_WORDS[shown][0]);
      const hint = shown === "other" && state && state.holder && state.holder !== "page" ? `${state.holder} holds` : "";
      put(button.querySelector("[data-vl-hold-hint]"), hint || HOLD_WORDS[shown][1]);
    }
  }
  function show() {
    for (const element of all("[data-vl]")) put(element, state.texts[element.dataset.vl] ?? "");
    for (const element of all("[data-vl-level]")) element.className = "vl-phase " + state.levels[element.dataset.vlLevel];
    for (const box of all("[data-vl-knob]")) showKnob(box, state.knobs[box.dataset.vlKnob]);
    for (const box of all("[data-vl-lamps]")) showLamps(box);
    for (const button of all("[data-vl-record]")) {
      put(button, state.recording ? "Stop recording" : "Start recording");
      button.classList.toggle("on", state.recording);
    }
    for (const choice of all("[data-vl-pack]")) if (document.activeElement !== choice) choice.value = state.pack;
    for (const box of all("[data-vl-say] textarea")) { // what a person has begun to write stays
      if (document.activeElement === box || box.dataset.shown === state.instruction) continue;
      box.value = box.dataset.shown = state.instruction;
    }
  }
  function showKnob(box, knob) {
    if (!knob) return;
    const name = box.dataset.vlKnob, low = Number(box.dataset.low), high = Number(box.dataset.high);
    const rest = Number(box.dataset.rest), place = (value) => 100 * (value - low) / (high - low);
    box.hidden = state.hidden.includes(name);
    box.classList.toggle("vl-off", knob.setpoint === null);
    box.classList.toggle("vl-stale", knob.stale);
    box.querySelector("b").dataset.by = knob.by;
    const slider = box.querySelector("input"), moved = touched.get(name) ?? -Infinity;
    if (performance.now() - moved > SETTLE_MS) slider.value = knob.setpoint ?? rest;
    const bar = box.querySelector(".vl-applied"), to = place(knob.value ?? rest), from = place(rest);
    bar.style.left = Math.min(from, to) + "%";
    bar.style.width = Math.abs(to - from) + "%";
    const active = box.dataset.switch === "off" ? knob.setpoint === null : knob.setpoint === rest;
    box.querySelector("button").classList.toggle("active", !active);
  }
  function showLamps(box) {
    while (box.children.length > state.lamps.length) box.lastChild.remove();
    while (box.children.length < state.lamps.length) {
      const lamp = document.createElement("div");
      lamp.append(document.createElement("span"), document.createElement("b"));
      box.append(lamp);
    }
    state.lamps.forEach(([label, text, level, hint], i) => {
      const lamp = box.children[i];
      lamp.className = "vl-lamp " + level;
      lamp.title = hint;
      lamp.dataset.lamp = label;
      put(lamp.firstChild, label);
      put(lamp.lastChild, text);
    });
  }
  setInterval(() => {
    const silent = performance.now() - heard > SILENT_MS;
    let banner = document.querySelector(".vl-lost");
    if (silent && !banner && document.body) {
      banner = document.createElement("div");
      banner.className = "vl-lost";
      banner.textContent = "No connection to the robot's computer: nothing here is current, and your hold is released";
      document.body.append(banner);
    } else if (!silent && banner) banner.remove();
  }, 500);
  connect();
})();
