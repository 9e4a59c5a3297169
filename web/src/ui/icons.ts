/*
 * Pictograms of finding families, as SVG path data in a 16 x 16 box: the same drawing on the canvas map and in the lists,
 * and the same in every language. Own drawings.
 */
import type { Family } from '../findings'

export const GLYPH: Record<Family, string> = {
  /* three heads and shoulders */
  overload: 'M8 2.2a2.1 2.1 0 1 1 0 4.2a2.1 2.1 0 0 1 0-4.2zM3.3 4.6a1.6 1.6 0 1 1 0 3.2a1.6 1.6 0 0 1 0-3.2zM12.7 4.6a1.6 1.6 0 1 1 0 3.2a1.6 1.6 0 0 1 0-3.2zM4.8 13.6v-3a3.2 3.2 0 0 1 6.4 0v3zM.8 12.6v-1.7a2.3 2.3 0 0 1 3-2.2a5 5 0 0 0-.4 2v1.9zM15.2 12.6v-1.7a2.3 2.3 0 0 0-3-2.2a5 5 0 0 1 .4 2v1.9z',
  /* dial with a needle far right */
  speed: 'M8 2.5a6.3 6.3 0 0 1 5.2 9.9l-1.5-1a4.5 4.5 0 1 0-7.4 0l-1.5 1A6.3 6.3 0 0 1 8 2.5zM12 5.6L9.4 10a1.7 1.7 0 1 1-1.4-1.9z',
  /* a path that leaves the road */
  route: 'M3 14V8.5A3.5 3.5 0 0 1 6.5 5h4.3L9.3 3.4l1.2-1.2L14.2 6l-3.7 3.7l-1.2-1.2L10.8 7H6.5A1.5 1.5 0 0 0 5 8.5V14zM7.5 11h2v3h-2z',
  /* the three letters, four by seven */
  sos: 'M.5 4.5h4v1.4H2v1.3h2.5v4.3h-4v-1.4H3V8.6H.5zM5.9 4.5h4.2v7H5.9zM7.4 5.9v4.2h1.2V5.9zM11.5 4.5h4v1.4H13v1.3h2.5v4.3h-4v-1.4H14V8.6h-2.5z',
  camera: 'M1.5 4.5h9v7h-9zM11.5 7l3-2v6l-3-2z',
  door: 'M3 2h7v12H3zM4.5 3.5v4h4v-4zM11.5 7.2h3v1.6h-3z',
  /* a small person behind a window */
  left: 'M1 2h14v12H1zM2.6 3.6v8.8h1.9v-1.2a3.5 3.5 0 0 1 7 0v1.2h1.9V3.6zM8 4.4a1.7 1.7 0 1 1 0 3.4a1.7 1.7 0 0 1 0-3.4z',
  fire: 'M8.6 1.2c.5 2.4 3.9 4 3.9 7.9A4.4 4.4 0 0 1 8 13.9a4.4 4.4 0 0 1-4.5-4.6c0-1.9 1-3 1.7-4.1c.3 1.1.7 1.6 1.3 1.9c-.2-2.2.5-4.5 2.1-5.9zM8 8.6c-1 1-1.6 1.7-1.6 2.7a1.6 1.6 0 0 0 3.2 0c0-1-.6-1.7-1.6-2.7z',
  /* a person with a belt across */
  care: 'M8 1.6a2.3 2.3 0 1 1 0 4.6a2.3 2.3 0 0 1 0-4.6zM3.5 14v-3.5A4.3 4.3 0 0 1 5.2 7.3L11.5 14zM12.5 12.7L6.8 6.8H8.5a4 4 0 0 1 4 4z',
  /* steering wheel */
  driver: 'M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13zM8 3.2a4.8 4.8 0 0 0-4.7 3.7h9.4A4.8 4.8 0 0 0 8 3.2zM3.3 8.9a4.8 4.8 0 0 0 3.8 3.8L6.5 9.6zM12.7 8.9l-3.2.7l-.6 3.1a4.8 4.8 0 0 0 3.8-3.8z',
  /* a beacon that shines */
  lamp: 'M4.5 12V8.5a3.5 3.5 0 0 1 7 0V12zM3 12.8h10v1.6H3zM7.3 1h1.4v2.5H7.3zM1.8 3.8l1-1l1.7 1.7l-1 1zM14.2 3.8l-1-1l-1.7 1.7l1 1z',
  /* a plug */
  device: 'M5 1.5h1.6V5H5zM9.4 1.5H11V5H9.4zM3.5 5.5h9v2.2a4.5 4.5 0 0 1-3.7 4.4v2.4H7.2v-2.4a4.5 4.5 0 0 1-3.7-4.4z',
  other: 'M7 3h2v6H7zM8 10.5a1.4 1.4 0 1 1 0 2.8a1.4 1.4 0 0 1 0-2.8z'
}
