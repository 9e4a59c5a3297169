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
  gps: 'M8 1.8a4.6 4.6 0 0 1 4.6 4.6c0 3-4.6 7.8-4.6 7.8S3.4 9.4 3.4 6.4A4.6 4.6 0 0 1 8 1.8zm0 2.7a1.9 1.9 0 1 0 0 3.8a1.9 1.9 0 0 0 0-3.8z',
  other: 'M7 3h2v6H7zM8 10.5a1.4 1.4 0 1 1 0 2.8a1.4 1.4 0 0 1 0-2.8z'
}
