// Sends the photo and the microphone to the server, and draws the frames that come back.
const byId = (id) => document.getElementById(id);
const EXAMPLES = ["astronaut", "grace_hopper"];
const MOST_WAITING = 64000; // bytes of sound that the line has not taken yet: two seconds
const state = { photo: null, example: null, socket: null, stream: null, context: null, frames: 0 };
window.live = state; // for tests

function say(text, isError = false) {
  byId("said").textContent = text;
  byId("said").className = isError ? "error" : "";
}

// What is chosen, before it speaks
async function show(address) {
  const image = new Image();
  image.src = address;
  await image.decode().catch(() => {}); // a kind that browsers do not know, and the server may
  if (!image.naturalWidth || state.socket) return;
  const canvas = byId("shown"), scale = Math.min(1, 1280 / Math.max(image.naturalWidth, image.naturalHeight));
  canvas.width = Math.round(scale * image.naturalWidth);
  canvas.height = Math.round(scale * image.naturalHeight);
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
}

function choose(example) {
  state.example = example;
  show(example === null ? URL.createObjectURL(state.photo) : `live-files/${example}`);
  if (example !== null) {
    state.photo = null;
    byId("file").value = "";
  }
  for (const button of byId("photos").children) button.setAttribute("aria-pressed", button.dataset.name === example);
}

function addExample(name) {
  const button = document.createElement("button"), image = new Image();
  image.src = `live-files/${name}`;
  image.alt = `Example: ${name.replace("_", " ")}`;
  image.onerror = () => button.remove();
  button.type = "button";
  button.dataset.name = name;
  button.append(image);
  button.onclick = () => choose(name);
  byId("photos").append(button);
}

async function microphone() {
  if (!navigator.mediaDevices)
    throw Error("The browser gives a microphone only to pages of https or of this computer. Open the page so.");
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true } });
  } catch (error) {
    if (error.name === "NotAllowedError") throw Error("The browser was told not to give the microphone. Allow it for this page.");
    throw Error("No microphone was found. Plug one in, and try again.");
  }
}

async function listen() {
  const context = (state.context = new AudioContext());
  await context.audioWorklet.addModule("live-files/microphone.js");
  const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
  node.port.onmessage = ({ data }) => {
    const samples = new Int16Array(data);
    const loudest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    byId("level").value = Math.min(1, loudest / 20000);
    const socket = state.socket;
    if (socket && socket.readyState === WebSocket.OPEN && socket.bufferedAmount < MOST_WAITING) socket.send(data);
  };
  context.createMediaStreamSource(state.stream).connect(node);
}

async function draw(blob) {
  const image = await createImageBitmap(blob), canvas = byId("shown");
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
  state.frames += 1;
}

function told({ data }) {
  if (data instanceof Blob) return draw(data);
  const message = JSON.parse(data);
  if (message.ready) {
    say("Speak!");
    byId("shown").scrollIntoView({ block: "nearest", behavior: "smooth" });
    listen().catch((error) => stop(error.message));
  } else stop(message.end);
}

async function start() {
  if (!state.photo && state.example === null) return say("Choose a photo first.", true);
  if (state.photo && !byId("agreed").checked) return say("Tick that the person in the photo has agreed.", true);
  byId("go").disabled = true;
  try {
    say("Waiting for the microphone …");
    state.stream = await microphone();
    say("Looking for the face …");
    const address = new URL("live/socket", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = (state.socket = new WebSocket(address));
    socket.onmessage = told;
    socket.onclose = () => state.socket === socket && stop("The line to the server is cut. Start again.");
    socket.onopen = () => {
      const { example } = state;
      socket.send(JSON.stringify({ example, agreed: byId("agreed").checked, label: byId("label").checked }));
      if (example === null) socket.send(state.photo);
    };
    byId("go").textContent = "Stop";
    byId("go").classList.add("on");
  } catch (error) {
    stop(error.message);
  }
  byId("go").disabled = false;
}

function stop(reason = null) {
  const { socket, stream, context } = state;
  state.socket = state.stream = state.context = null;
  if (socket && socket.readyState === WebSocket.OPEN) {
    socket.send("end");
    socket.close();
  }
  if (stream) stream.getTracks().forEach((track) => track.stop());
  if (context) context.close();
  byId("go").textContent = "Start";
  byId("go").classList.remove("on");
  byId("go").disabled = false;
  byId("level").value = 0;
  say(reason ?? "", reason !== null);
}

EXAMPLES.forEach(addExample);
choose(EXAMPLES[0]);
byId("file").onchange = ({ target }) => {
  state.photo = target.files[0] ?? null;
  choose(state.photo ? null : EXAMPLES[0]);
};
byId("go").onclick = () => (state.socket ? stop() : start());
