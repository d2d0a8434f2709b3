// Pointing at an allocator, anywhere, dims the others; choosing one in the bar keeps them dimmed until it is chosen again.
(() => {
  const marked = [...document.querySelectorAll('[data-a]')];
  const buttons = marked.filter(each => each.tagName === 'BUTTON');
  let kept = null;
  const show = name => {
    for (const each of marked) each.classList.toggle('dim', name !== null ? each.dataset.a !== name : false);
  };
  document.addEventListener('mouseover', event => {
    const at = event.target.closest('nav [data-a], svg [data-a]');
    show(at ? at.dataset.a : kept);
  });
  for (const button of buttons) button.addEventListener('click', () => {
    kept = kept === button.dataset.a ? null : button.dataset.a;
    for (const each of buttons) each.setAttribute('aria-pressed', each.dataset.a === kept);
    show(kept);
  });
})();
