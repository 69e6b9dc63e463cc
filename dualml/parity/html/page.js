"use strict";
(() => {
  const said = document.createElement("div");
  said.className = "unseen";
  said.setAttribute("role", "status");
  document.body.append(said);

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page opened from a file may have no clipboard of its own.
      const field = document.createElement("textarea");
      field.value = text;
      field.className = "unseen";
      document.body.append(field);
      field.select();
      const done = document.execCommand("copy");
      field.remove();
      if (!done) throw new Error("the browser does not let the page copy");
    }
  };

  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("code").textContent;
      let told = "Copied";
      try {
        await copy(text);
      } catch {
        told = "Select it instead";
      }
      button.textContent = told;
      said.textContent = told;
      button.focus();
      setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 1600);
    });
  }

  const twin = document.getElementById("report");
  const save = document.getElementById("save");
  if (twin && save) {
    save.hidden = false;
    save.addEventListener("click", () => {
      const file = new Blob([twin.textContent], { type: "application/json" });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(file);
      link.download = "report.json";
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const item of opened) item.open = true;
  });
  addEventListener("afterprint", () => {
    for (const item of opened) item.open = false;
  });
})();
