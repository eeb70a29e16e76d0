/** Sends files to the application, one after the other, and shows how far each has come. */

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

  /** Takes files that are dropped anywhere: one that misses would replace the page. */
  #listen(area) {
    const over = (event, yes) => {
      event.preventDefault();
      area.classList.toggle("over", yes);
    };
    document.addEventListener("dragover", (event) => over(event, true));
    document.addEventListener("dragleave", (event) => over(event, false));
    document.addEventListener("drop", (event) => {
      over(event, false);
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
      if (file.size > limit) throw new Error(`it is over the limit of ${bytes(limit)}`);
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
    this.#part("words").textContent = "Waiting to be sent";
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

/** fetch cannot tell how far an upload is, so this is the older XMLHttpRequest. */
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
      else reject(new Error(request.response?.detail ?? `the server answered ${request.status}`));
    };
    request.onerror = () => reject(new Error("it could not be read, or the connection was lost"));
    request.send(form);
  });
}
