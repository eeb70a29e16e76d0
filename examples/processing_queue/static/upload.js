/** Upload of files to the application, one after the other, with their progress. */

import { bytes } from "./format.js";

export class Upload {
  #list;
  #limit;
  #onsent;
  #last = Promise.resolve();

  constructor(area, list, { limit = () => Infinity, onsent = () => {} } = {}) {
    this.#list = list;
    this.#limit = limit;
    this.#onsent = onsent;
    const input = area.querySelector("input");
    input.onchange = () => {
      this.#take(input.files);
      input.value = "";
    };
    this.#listen(area);
  }

  /** Accepts files dropped anywhere: the browser would open a file that misses the area. */
  #listen(area) {
    const highlight = (event, on) => {
      event.preventDefault();
      area.classList.toggle("over", on);
    };
    document.addEventListener("dragover", (event) => highlight(event, true));
    document.addEventListener("dragleave", (event) => highlight(event, false));
    document.addEventListener("drop", (event) => {
      highlight(event, false);
      this.#take(event.dataTransfer.files);
    });
  }

  #take(files) {
    for (const file of files) {
      const row = new Row(this.#list, file.name);
      this.#last = this.#last.then(() => this.#send(file, row));
    }
  }

  async #send(file, row) {
    try {
      const limit = this.#limit();
      if (file.size > limit) throw new Error(`the file is over the limit of ${bytes(limit)}`);
      await post(file, (loaded) => row.progress(loaded, file.size));
      row.remove();
      this.#onsent();
    } catch (error) {
      row.fail(error.message);
    }
  }
}

class Row {
  #element = document.getElementById("upload").content.firstElementChild.cloneNode(true);

  constructor(list, name) {
    this.#part("name").textContent = name;
    this.#part("words").textContent = "Waiting";
    this.#part("bar").setAttribute("aria-label", `Upload of ${name}`);
    this.#part("dismiss").onclick = () => this.remove();
    list.append(this.#element);
  }

  progress(loaded, total) {
    const done = total ? Math.min(100, Math.floor((loaded / total) * 100)) : 100;
    this.#part("bar").setAttribute("aria-valuenow", done);
    this.#part("bar").firstElementChild.style.width = `${done}%`;
    this.#part("words").textContent = `Uploading, ${done} %`;
  }

  fail(message) {
    this.#element.classList.add("failed");
    this.#part("words").textContent = `Not uploaded: ${message}`;
    this.#part("dismiss").hidden = false;
  }

  remove() {
    this.#element.remove();
  }

  #part(name) {
    return this.#element.querySelector(`[data-part="${name}"]`);
  }
}

/** Sends a file by XMLHttpRequest, because `fetch` does not report the progress of an upload. */
function post(file, onprogress) {
  const form = new FormData();
  form.append("file", file);
  const request = new XMLHttpRequest();
  request.open("POST", "/api/upload");
  request.responseType = "json";
  request.upload.onprogress = ({ loaded }) => onprogress(loaded);
  return new Promise((resolve, reject) => {
    request.onload = () => {
      if (request.status === 201) resolve();
      else reject(new Error(request.response?.detail ?? `the server returned status ${request.status}`));
    };
    request.onerror = () => reject(new Error("the file could not be read, or the connection was lost"));
    request.send(form);
  });
}
