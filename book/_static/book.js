/* Whatever scrolls inside itself can be reached and scrolled from the keyboard. */
(function () {
  const wide = ".bd-article pre, .cell_output .output, .fer-scroll, .pst-scrollable-table-container, .bd-article mjx-container[display='true'], div.math";
  const watch = new ResizeObserver(function (changed) {
    changed.forEach(function (entry) { mark(entry.target.closest(wide)); });
  });
  function mark(box) {
    if (!box) return;
    const scrolls = box.scrollWidth > box.clientWidth;
    if (scrolls && !box.hasAttribute("tabindex")) {
      box.tabIndex = 0;
      box.dataset.scrolls = "";
    } else if (!scrolls && "scrolls" in box.dataset) {
      box.removeAttribute("tabindex");
      delete box.dataset.scrolls;
    }
  }
  /* On a narrow page a wide figure scrolls in its place rather than shrink until its words cannot be read. */
  function legible() {
    document.querySelectorAll(".cell_output > img, .cell_output > .fer-scroll > img").forEach(function (figure) {
      const box = figure.closest(".cell_output"), least = 0.6 * figure.naturalWidth, wide = least > box.clientWidth;
      if (wide && figure.parentElement === box) {
        const scroll = document.createElement("div");
        scroll.className = "fer-scroll";
        figure.replaceWith(scroll);
        scroll.append(figure);
      }
      figure.style.maxWidth = wide ? "none" : "";
      figure.style.width = wide ? least + "px" : "";
    });
  }
  function markAll() {
    legible();
    document.querySelectorAll(wide).forEach(function (box) {
      mark(box);
      watch.observe(box);
      if (box.firstElementChild) watch.observe(box.firstElementChild);
    });
  }
  window.addEventListener("load", function () {
    markAll();
    window.addEventListener("resize", legible);
    document.fonts.ready.then(markAll);
    if (window.MathJax && window.MathJax.startup) window.MathJax.startup.promise.then(markAll);
  });
})();
