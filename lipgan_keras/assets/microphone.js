// Turns what the microphone gives into 16 kHz signed 16-bit PCM, 40 ms at a time.
const RATE = 16000, PIECE = 640;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.step = sampleRate / RATE; // samples of the microphone to one of ours
    this.piece = new Int16Array(PIECE);
    this.filled = 0;
    this.sum = 0; // of the part of a sample of ours that has come
    this.had = 0;
  }

  process(inputs) {
    const samples = inputs[0][0];
    if (samples === undefined) return true;
    for (const sample of samples) {
      // The mean over the time of each sample of ours: a low-pass filter that is good enough for speech.
      let left = 1;
      while (left > 1e-9) {
        const part = Math.min(left, this.step - this.had);
        this.sum += part * sample;
        this.had += part;
        left -= part;
        if (this.had >= this.step - 1e-9) this.add(this.sum / this.had);
      }
    }
    return true;
  }

  add(value) {
    this.sum = this.had = 0;
    this.piece[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
    if (this.filled === PIECE) {
      this.port.postMessage(this.piece.buffer, [this.piece.buffer]);
      this.piece = new Int16Array(PIECE);
      this.filled = 0;
    }
  }
}

registerProcessor("microphone", Microphone);
