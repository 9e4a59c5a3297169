/*
 * names.mjs - a Latin name for a street that OpenStreetMap names only in Cyrillic.
 *
 * The letters follow the BGN/PCGN 1947 romanisation of Russian, simplified (no apostrophes), with the letters of Kazakh
 * added; the words for "street" and the like become English words. Where OpenStreetMap has name:en, that one is taken.
 */
const LETTERS = {
  а: 'a', б: 'b', в: 'v', г: 'g', д: 'd', е: 'e', ё: 'yo', ж: 'zh', з: 'z', и: 'i', й: 'y', к: 'k', л: 'l', м: 'm', н: 'n',
  о: 'o', п: 'p', р: 'r', с: 's', т: 't', у: 'u', ф: 'f', х: 'kh', ц: 'ts', ч: 'ch', ш: 'sh', щ: 'shch', ъ: '', ы: 'y', ь: '',
  э: 'e', ю: 'yu', я: 'ya', ә: 'a', ғ: 'gh', қ: 'q', ң: 'ng', ө: 'o', ұ: 'u', ү: 'u', һ: 'h', і: 'i',
};
const WORDS = [
  [/улица|көшесі/giu, 'Street'], [/проспект|даңғылы/giu, 'Avenue'], [/переулок/giu, 'Lane'], [/проезд/giu, 'Passage'],
  [/шоссе/giu, 'Highway'], [/площадь/giu, 'Square'], [/бульвар/giu, 'Boulevard'], [/набережная/giu, 'Embankment'],
  [/мост/giu, 'Bridge'], [/средняя школа/giu, 'Secondary School'], [/школа/giu, 'School'],
];

export function romanise(text) {
  let s = text;
  for (const [re, word] of WORDS) s = s.replace(re, word);
  return s
    .replace(/[\u0400-\u04ff]+/gu, (w) => {
      const latin = [...w.toLowerCase()].map((c) => LETTERS[c] ?? '').join('');
      return w[0] !== w[0].toLowerCase() ? latin.charAt(0).toUpperCase() + latin.slice(1) : latin;
    })
    .replace(/^(Street|Avenue|Lane|Passage|Highway|Square|Boulevard|Embankment) (.+)$/u, '$2 $1')
    .trim();
}

export const nameEn = (tags) => tags['name:en'] ?? (tags.name ? romanise(tags['name:ru'] ?? tags.name) : undefined);
