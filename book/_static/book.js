/* Whatever scrolls inside itself can be reached and scrolled from the keyboard. */
(function () {
  const wide = ".bd-article pre, .cell_output .output, .pst-scrollable-table-container, .bd-article mjx-container[display='true'], div.math";
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
  function markAll() {
    document.querySelectorAll(wide).forEach(function (box) {
      mark(box);
      watch.observe(box);
      if (box.firstElementChild) watch.observe(box.firstElementChild);
    });
  }
  window.addEventListener("load", function () {
    markAll();
    document.fonts.ready.then(markAll);
    if (window.MathJax && window.MathJax.startup) window.MathJax.startup.promise.then(markAll);
  });
})();
