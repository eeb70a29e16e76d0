// Driver of bench/servers/driver.py, for servers on Node.
import { openSync, readSync } from "node:fs";
import { createInterface } from "node:readline";

const counter = Buffer.alloc(16);

export function makeData(number, size) {
  const data = { t: Number(process.hrtime.bigint()), n: number, x: "" };
  data.x = "x".repeat(Math.max(0, size - JSON.stringify(data).length));
  return data;
}

export function envelope(channel, data, offset) {
  return JSON.stringify({
    type: "event",
    channel,
    event: "bench.step",
    id: `01930000-0000-7000-8000-${String(offset).padStart(12, "0")}`,
    epoch: "k3v9q2wz",
    offset,
    time: 1763836800123,
    data,
  });
}

// Reads commands from standard input. `publish(channel, text)` sends one event; `port` is the server's.
export function start(port, publish) {
  const file = openSync(process.argv[2], "r");
  const readCounters = () => {
    readSync(file, counter, 0, 16, 0);
    return [Number(counter.readBigUInt64LE(0)), Number(counter.readBigUInt64LE(8))];
  };
  let generation = 0;
  const run = ([channels, events, bytes, window, , rate]) => {
    const own = ++generation;
    let [expected, ready] = readCounters();
    let number = 0;
    let due = performance.now();
    const turn = () => {
      if (own !== generation) return;
      if (rate ? performance.now() < due : expected - readCounters()[0] > window) {
        setImmediate(turn);
        return;
      }
      due += 1000 / (rate || 1);
      for (let event = 0; event < events; event++) {
        const channel = `bench-${Math.floor(Math.random() * channels)}`;
        publish(channel, envelope(channel, makeData(++number, bytes), number));
      }
      expected += Math.floor(ready / channels) * events;
      setImmediate(turn);
    };
    turn();
  };
  const lines = createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const [name, ...numbers] = line.split(" ");
    generation++;
    if (name === "run") run(numbers.map(Number));
  });
  lines.on("close", () => process.exit(0));
  console.log(`ready ${port}`);
}
