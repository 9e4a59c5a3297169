/* Which gateway is on a bus, and how old its report may be. */
import type { Api, Gateway } from './api'

/* A gateway reports every five minutes; two missed ones and what it said is history. */
export const REPORT_OLD_MS = 11 * 60_000

/* A vehicle does not name its gateway, so the first look reads the list; later ones ask for the one. Null: none is known for this bus. */
export async function findGateway(api: Pick<Api, 'gateways' | 'gateway'>, vehicle: string, known: string | null): Promise<Gateway | null> {
  if (known !== null) return api.gateway(known)
  const { gateways } = await api.gateways()
  return gateways.find((g) => g.vehicle === vehicle) ?? null
}
