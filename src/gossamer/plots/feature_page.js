const find = document.querySelector("#find"), order = document.querySelector("#order"), count = document.querySelector("#count");
const list = document.querySelector("#features"), cards = [...list.children];
const texts = cards.map(card => card.textContent.toLowerCase());
const show = () => {
  const words = find.value.toLowerCase().trim();
  let shown = 0;
  cards.forEach((card, i) => { card.hidden = !texts[i].includes(words); shown += !card.hidden; });
  count.textContent = `${shown} of ${cards.length} features`;
};
const sort = () => {
  const key = order.value, sign = key === "number" ? 1 : -1;
  list.append(...[...cards].sort((a, b) => sign * (a.dataset[key] - b.dataset[key])));
};
find.addEventListener("input", show);
order.addEventListener("change", sort);
document.querySelector(".tools").hidden = false;
show();
