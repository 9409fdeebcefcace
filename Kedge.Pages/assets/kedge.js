// Refreshes a live page in place every three seconds: whatever the reader has opened, scrolled or typed stays as it is.
(() => {
  const live = document.querySelector("main[data-live]");
  if (!live) return;

  const adopt = (fresh) => {
    const opened = new Map([...document.querySelectorAll("details[id]")].map((d) => [d.id, d.open]));
    for (const details of fresh.querySelectorAll("details[id]")) {
      if (opened.has(details.id)) details.open = opened.get(details.id);
    }
    const form = document.querySelector("main form.explain");
    const freshForm = fresh.querySelector("form.explain");
    if (form && freshForm) freshForm.replaceWith(form);
    const scrolled = new Map([...document.querySelectorAll(".scroll")].map((s) => [s.getAttribute("aria-label"), s.scrollLeft]));
    const focus = document.activeElement;
    document.querySelector("main").replaceChildren(...fresh.querySelector("main").childNodes);
    document.querySelector("header").replaceChildren(...fresh.querySelector("header").childNodes);
    for (const s of document.querySelectorAll(".scroll")) s.scrollLeft = scrolled.get(s.getAttribute("aria-label")) ?? 0;
    if (focus && focus !== document.activeElement && form?.contains(focus)) focus.focus();
  };

  const refresh = async () => {
    if (!document.hidden && !window.getSelection()?.toString()) {
      try {
        const answer = await fetch(location.pathname + location.search, { headers: { accept: "text/html" } });
        if (answer.ok) adopt(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch {
        // The server is unreachable. The page keeps its last state and tries again.
      }
    }
    setTimeout(refresh, 3000);
  };
  setTimeout(refresh, 3000);
})();
